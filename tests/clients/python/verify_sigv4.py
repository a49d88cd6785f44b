"""Bedrock, as far as a signature goes: every request is signed anew by botocore and compared with what it carries.

Usage: verify_sigv4.py ACCESS_KEY_ID SECRET_ACCESS_KEY SESSION_TOKEN. Says `verifier on http://ADDRESS` when it listens. Answers
200 with a message where both signatures are one, 403 with botocore's canonical request where they are not.
"""

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY_ID, SECRET, TOKEN = sys.argv[1:4]
MESSAGE = {
    "id": "msg_verified",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-6",
    "content": [{"type": "text", "text": "verified"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}


class Refused(Exception):
    """Why a request is not what its signature says."""


def parts(authorization):
    """The key id, region, service, signed header names and signature of an `authorization` header."""
    scheme, _, rest = authorization.partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        raise Refused(f"the scheme is {scheme!r}")
    fields = dict(field.strip().split("=", 1) for field in rest.split(","))
    key_id, _day, region, service, end = fields["Credential"].split("/")
    if end != "aws4_request":
        raise Refused(f"the scope ends with {end!r}")
    return key_id, region, service, fields["SignedHeaders"].split(";"), fields["Signature"]


def verify(method, target, headers, body):
    """Raises unless botocore signs the same."""
    key_id, region, service, names, signature = parts(headers.get("authorization", ""))
    if (key_id, region, service) != (KEY_ID, "eu-west-1", "bedrock"):
        raise Refused(f"signed by {key_id} for {region}/{service}")
    missing = {"host", "x-amz-date", "x-amz-security-token"} - set(names)
    if missing:
        raise Refused(f"not signed: {sorted(missing)}")
    if headers["x-amz-security-token"] != TOKEN:
        raise Refused("another session's token")
    announced = headers.get("x-amz-content-sha256")
    if announced is not None and announced != hashlib.sha256(body).hexdigest():
        raise Refused("the body is not the one that was hashed")
    signed = {name: headers[name] for name in names}
    request = AWSRequest(method=method, url=f"http://{headers['host']}{target}", data=body, headers=signed)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(KEY_ID, SECRET, TOKEN), service, region)
    canonical = signer.canonical_request(request)
    if signer.signature(signer.string_to_sign(request, canonical), request) != signature:
        raise Refused(canonical)


class Handler(BaseHTTPRequestHandler):
    """One connection of the gateway's."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Judges a request."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            verify(self.command, self.path, headers, body)
            status, answer = 200, {"inputTokens": 3} if self.path.endswith("/count-tokens") else MESSAGE
        except Refused as refused:
            status, answer = 403, {"message": f"botocore signs otherwise: {refused}"}
        bytes_ = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(bytes_)))
        self.end_headers()
        self.wfile.write(bytes_)

    def log_message(self, *_):
        """Nothing: the test tells."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"verifier on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
