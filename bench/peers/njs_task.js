// The task of zstack-to-tencent for njs, which has no crypto.randomInt and no require of own files.
import crypto from "crypto";

const environment = process.env;
const REGION = environment.TENCENT_REGION || "sh";

function refuse(r, status, reply) {
  r.return(status, typeof reply === "string" ? reply : JSON.stringify(reply));
}

function invalid(r, details) {
  refuse(r, 503, { error: { code: "SYS.1007", description: "One or more API argument is invalid", details: details } });
}

function report(r) {
  const parts = (r.headersIn["Authorization"] || "").split(" ");
  if (parts[0] !== "OAuth") return refuse(r, 400, "missing header 'Authorization'");
  if (parts[1] !== environment.ZSTACK_SESSION) {
    return refuse(r, 503, { error: { code: "ID.1001", description: "session expired" } });
  }
  let params;
  try {
    params = JSON.parse(r.requestText).params || {};
  } catch (error) {
    return invalid(r, "the body is not JSON");
  }
  const namespace = params.namespace;
  const data = params.data;
  if (!Array.isArray(data) || data.length === 0) return invalid(r, "params.data is missing");
  if (typeof namespace !== "string" || !namespace || namespace.length > 255 || namespace.startsWith("ZStack")) {
    return invalid(r, "namespace is missing or reserved");
  }
  const now = Date.now();
  const items = [];
  for (let index = 0; index < data.length; index++) {
    const datum = data[index];
    if (typeof datum.metricName !== "string" || !datum.metricName) return invalid(r, `item ${index}: metricName`);
    if (!Number.isFinite(Number(datum.value))) return invalid(r, `item ${index}: value`);
    if (!datum.labels || Object.keys(datum.labels).length === 0) return invalid(r, `item ${index}: labels`);
    if (datum.time !== undefined && now - datum.time > 300000) return invalid(r, `item ${index}: too old`);
    const dimensions = {};
    for (const name in datum.labels) dimensions[name] = String(datum.labels[name]);
    items.push({ dimensions: dimensions, metricName: datum.metricName, value: Number(datum.value) });
  }
  const nonce = 1 + Math.floor(Math.random() * 2147483646);
  const seconds = Math.floor(now / 1000);
  const key = environment.TENCENT_SECRET_ID;
  const signed = `Action=PutMonitorData&Nonce=${nonce}&Region=${REGION}&SecretId=${key}&Timestamp=${seconds}`;
  const signature = crypto
    .createHmac("sha1", environment.TENCENT_SECRET_KEY)
    .update(`POSTreceiver.monitor.tencentyun.com/v2/index.php?${signed}`)
    .digest("base64");
  const body = JSON.stringify({
    Action: "PutMonitorData", Namespace: namespace, Data: items, SecretId: key, Region: REGION,
    Timestamp: seconds, Nonce: nonce, Signature: signature,
  });
  r.subrequest("/v2/index.php", { method: "POST", body: body }, (answer) => {
    let result = {};
    try {
      result = JSON.parse(answer.responseText);
    } catch (error) {
      // rejected below
    }
    r.headersOut["Content-Type"] = "application/json";
    if (answer.status === 200 && result.code === 0) return r.return(200, "{}");
    refuse(r, 503, { error: { code: "SYS.1006", description: "An operation failed", details: result.message } });
  });
}

export default { report };
