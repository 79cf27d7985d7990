// SECRET: whsec_ and base64; the key is what the base64 means. URL and PARTNER: as you were told.
import { createHmac, randomUUID } from "node:crypto";

const payload = { event_type: "service.confirmed", timestamp: "2026-01-19T16:00:00Z",
  data: { external_event_id: "RES-2026-001", service_id: 123 } };
const body = JSON.stringify(payload); // once: this text is signed, and this is sent
const id = `msg_${randomUUID()}`; // the same for every attempt
const timestamp = Math.floor(Date.now() / 1000); // of this attempt
const key = Buffer.from(process.env.SECRET.replace(/^whsec_/, ""), "base64");
const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`, "utf8").digest("base64");
const answer = await fetch(process.env.URL, { method: "POST", body, headers: {
  "Content-Type": "application/json", "X-Partner-ID": process.env.PARTNER, "webhook-id": id,
  "webhook-timestamp": String(timestamp), "webhook-signature": `v1,${signature}` } });
console.log(await answer.text());
