// express_server.js PORT UPSTREAM
"use strict";
const express = require("express");
const http = require("http");
const { convert, classify } = require("./task.js");

const [port, upstream] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
const options = { agent, method: "POST" };

const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(express.text({ type: () => true, limit: "1mb" }));
app.post("/zstack/v1/zwatch/metrics", (request, response) => {
  const { body, status, reply } = convert(request.get("authorization"), request.body);
  if (body === undefined) return response.status(status).send(reply);
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const call = http.request(`${upstream}/v2/index.php`, { ...options, headers }, (answer) => {
    const chunks = [];
    answer.on("data", (chunk) => chunks.push(chunk));
    answer.on("end", () => {
      const result = classify(answer.statusCode, Buffer.concat(chunks).toString());
      response.status(result.status).json(result.reply);
    });
  });
  call.on("error", (error) => response.status(503).json({ error: { code: "SYS.1015", details: error.message } }));
  call.end(body);
});
app.listen(Number(port), "127.0.0.1");
