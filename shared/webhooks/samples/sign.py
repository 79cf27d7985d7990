# SECRET: the whole text, whsec_ included. URL and PARTNER: as you were told.
import hashlib, hmac, json, os, urllib.request

payload = {"event_type": "service.confirmed", "timestamp": "2026-01-19T16:00:00Z",
           "data": {"external_event_id": "RES-2026-001", "service_id": 123}}
body = json.dumps(payload).encode()  # once: these bytes are signed, and these are sent
signature = hmac.new(os.environ["SECRET"].encode(), body, hashlib.sha256).hexdigest()
request = urllib.request.Request(os.environ["URL"], data=body, headers={
    "Content-Type": "application/json", "X-Partner-ID": os.environ["PARTNER"], "X-Partner-Signature": signature})
print(urllib.request.urlopen(request).read().decode())
