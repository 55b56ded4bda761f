// Settings of Node-RED: one flow (node_red_flow.json), no editor, errors only.
module.exports = {
  uiHost: "127.0.0.1",
  uiPort: Number(process.env.PORT),
  httpAdminRoot: false,
  httpNodeRoot: "/",
  flowFile: process.env.FLOW,
  userDir: process.env.USER_DIR,
  apiMaxLength: "1mb",
  functionGlobalContext: { task: require("./task.js") },
  logging: { console: { level: "error" } },
};
