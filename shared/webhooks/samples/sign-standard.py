# SECRET: whsec_ and base64; the key is what the base64 means. URL and PARTNER: as you were told.
import base64, hashlib, hmac, json, os, time, urllib.request, uuid

payload = {"event_type": "service.confirmed", "timestamp": "2026-01-19T16:00:00Z",
           "data": {"external_event_id": "RES-2026-001", "service_id": 123}}
body = json.dumps(payload).encode()  # once: these bytes are signed, and these are sent
message_id = f"msg_{uuid.uuid4().hex}"  # the same for every attempt
timestamp = str(int(time.time()))  # of this attempt
key = base64.b64decode(os.environ["SECRET"].removeprefix("whsec_"))
signed = f"{message_id}.{timestamp}.".encode() + body
signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
request = urllib.request.Request(os.environ["URL"], data=body, headers={
    "Content-Type": "application/json", "X-Partner-ID": os.environ["PARTNER"], "webhook-id": message_id,
    "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"})
print(urllib.request.urlopen(request).read().decode())
