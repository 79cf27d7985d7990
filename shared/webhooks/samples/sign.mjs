// SECRET: the whole text, whsec_ included. URL and PARTNER: as you were told.
import { createHmac } from "node:crypto";

const payload = { event_type: "service.confirmed", timestamp: "2026-01-19T16:00:00Z",
  data: { external_event_id: "RES-2026-001", service_id: 123 } };
const body = JSON.stringify(payload); // once: this text is signed, and this is sent
const signature = createHmac("sha256", process.env.SECRET).update(body, "utf8").digest("hex");
const answer = await fetch(process.env.URL, { method: "POST", body, headers: {
  "Content-Type": "application/json", "X-Partner-ID": process.env.PARTNER, "X-Partner-Signature": signature } });
console.log(await answer.text());
