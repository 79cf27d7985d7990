// What a partner runs that follows Standard Webhooks with its library for Node.
//
//   node standard.js send URL SECRET   a webhook; prints the status and the body of the answer
//   node standard.js verify SECRET     reads {"headers", "body"}; prints whether it is accepted

const { Webhook } = require("standardwebhooks");

async function send(url, secret) {
  const data = { external_event_id: "RES-2026-001", service_name: "Decoración", price: 250.0 };
  const body = JSON.stringify({ event_type: "service.booked_for_event", data });
  const now = new Date();
  const headers = {
    "Content-Type": "application/json",
    "X-Partner-ID": "findyourwork",
    "webhook-id": "msg_node",
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign("msg_node", now, body),
  };
  const answer = await fetch(url, { method: "POST", headers, body });
  return { status: answer.status, body: await answer.json() };
}

async function verify(secret) {
  const { headers, body } = JSON.parse(require("fs").readFileSync(0, "utf8"));
  try {
    new Webhook(secret).verify(body, headers);
    return { standard: true };
  } catch (error) {
    if (error.name !== "WebhookVerificationError") throw error;
    return { standard: false };
  }
}

const [command, ...rest] = process.argv.slice(2);
({ send, verify })[command](...rest).then((told) => console.log(JSON.stringify(told)));
