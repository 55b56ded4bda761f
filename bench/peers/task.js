// The task of zstack-to-tencent by hand, shared by the JavaScript peers. See aiohttp_handler.py.
"use strict";
const crypto = require("crypto");

const { ZSTACK_SESSION, TENCENT_SECRET_ID, TENCENT_SECRET_KEY, TENCENT_REGION = "sh" } = process.env;
const SESSION = Buffer.from(ZSTACK_SESSION);

function known(session) {
  const given = Buffer.from(session.trim());
  return given.length === SESSION.length && crypto.timingSafeEqual(given, SESSION);
}

function invalid(details) {
  return { status: 503, reply: { error: { code: "SYS.1007", description: "One or more API argument is invalid", details } } };
}

// Returns {body} to send, or {status, reply} for the reporter.
function convert(authorization, text) {
  const [scheme, session = ""] = (authorization || "").split(" ", 2);
  if (scheme !== "OAuth") return { status: 400, reply: "missing header 'Authorization'" };
  if (!known(session)) return { status: 503, reply: { error: { code: "ID.1001", description: "session expired" } } };
  let report;
  try {
    report = JSON.parse(text);
  } catch (error) {
    return invalid("the body is not JSON");
  }
  const { namespace, data } = report.params || {};
  if (!Array.isArray(data) || data.length === 0) return invalid("params.data is missing");
  if (typeof namespace !== "string" || !namespace || namespace.length > 255 || namespace.startsWith("ZStack")) {
    return invalid("namespace is missing or reserved");
  }
  const now = Date.now();
  const items = [];
  for (const [index, { metricName, value, labels, time }] of data.entries()) {
    if (typeof metricName !== "string" || !metricName) return invalid(`item ${index}: metricName is missing`);
    if (!Number.isFinite(Number(value))) return invalid(`item ${index}: value is not a finite number`);
    if (!labels || Object.keys(labels).length === 0) return invalid(`item ${index}: labels is missing`);
    if (time !== undefined && now - time > 300000) return invalid(`item ${index}: too old`);
    const dimensions = {};
    for (const name in labels) dimensions[name] = String(labels[name]);
    items.push({ dimensions, metricName, value: Number(value) });
  }
  const nonce = crypto.randomInt(1, 2147483647);
  const seconds = Math.floor(now / 1000);
  const signed = `Action=PutMonitorData&Nonce=${nonce}&Region=${TENCENT_REGION}&SecretId=${TENCENT_SECRET_ID}&Timestamp=${seconds}`;
  const signature = crypto
    .createHmac("sha1", TENCENT_SECRET_KEY)
    .update(`POSTreceiver.monitor.tencentyun.com/v2/index.php?${signed}`)
    .digest("base64");
  const body = JSON.stringify({
    Action: "PutMonitorData", Namespace: namespace, Data: items, SecretId: TENCENT_SECRET_ID, Region: TENCENT_REGION,
    Timestamp: seconds, Nonce: nonce, Signature: signature,
  });
  return { body };
}

// Returns {status, reply} by the upstream's answer.
function classify(status, text) {
  let answer = {};
  try {
    answer = JSON.parse(text);
  } catch (error) {
    // classified below
  }
  if (status === 200 && answer.code === 0) return { status: 200, reply: {} };
  return { status: 503, reply: { error: { code: "SYS.1006", description: "An operation failed", details: answer.message } } };
}

module.exports = { convert, classify };
