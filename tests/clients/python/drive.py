"""Makes calls with the Python SDK as told on stdin, and prints what the SDK made of the answers.

stdin:  {"base_url", "calls": [{"do", "key", "model", "api", "base", "signs", "sim", "prompt", "tools", "thinking", "retries"}]}
stdout: {"results": [{"ok": …} | {"error": …}], "exchanges": [what crossed the wire, one per HTTP exchange]}
"""

import hashlib
import json
import sys

import anthropic
import httpx2

TOOL = {
    "name": "list_files",
    "description": "Lists a folder",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
}


class Digesting(httpx2.SyncByteStream):
    """Passes a response body on as it arrives and digests it on the way."""

    def __init__(self, inner, exchange):
        self.inner, self.exchange, self.sha256 = inner, exchange, hashlib.sha256()

    def __iter__(self):
        for part in self.inner:
            self.sha256.update(part)
            self.exchange["response_sha256"] = self.sha256.hexdigest()
            yield part

    def close(self):
        self.inner.close()


class Recording(httpx2.HTTPTransport):
    """Notes every exchange: both bodies' digests, the status, who answered."""

    def __init__(self, exchanges):
        super().__init__()
        self.exchanges = exchanges

    def handle_request(self, request):
        exchange = {
            "method": request.method,
            "path": request.url.raw_path.decode(),
            "request_sha256": hashlib.sha256(request.read()).hexdigest(),
            "response_sha256": hashlib.sha256().hexdigest(),
        }
        self.exchanges.append(exchange)
        response = super().handle_request(request)
        exchange["status"] = response.status_code
        exchange["headers"] = {name.lower(): value for name, value in response.headers.items()}
        return httpx2.Response(
            status_code=response.status_code,
            headers=response.headers,
            stream=Digesting(response.stream, exchange),
            extensions=response.extensions,
        )


def message_of(message):
    blocks = [block.model_dump(mode="json") for block in message.content]
    return {
        "id": message.id,
        "model": message.model,
        "stop_reason": message.stop_reason,
        "content": blocks,
        "text": "".join(block["text"] for block in blocks if block["type"] == "text"),
        "input_tokens": message.usage.input_tokens,
        "output_tokens": message.usage.output_tokens,
    }


def asked(call):
    body = {"model": call["model"], "messages": [{"role": "user", "content": call.get("prompt", "Say something.")}]}
    if call.get("tools"):
        body["tools"] = [TOOL]
    if call.get("thinking"):
        body["thinking"] = {"type": "adaptive"}
    return body


def perform(client, call):
    sim = {"extra_headers": {"anthropic-sim": call["sim"]}} if call.get("sim") else {}
    match call["do"]:
        case "message":
            return message_of(client.messages.create(max_tokens=1024, **asked(call), **sim))
        case "stream":
            kinds, text = [], ""
            with client.messages.stream(max_tokens=1024, **asked(call), **sim) as stream:
                for event in stream:
                    kinds.append(event.type)
                    if event.type == "text":
                        text += event.text
                return {**message_of(stream.get_final_message()), "events": kinds, "streamed_text": text}
        case "count_tokens":
            return {"input_tokens": client.messages.count_tokens(**asked(call), **sim).input_tokens}
        case "models":
            return [{"id": model.id, "display_name": model.display_name} for model in client.models.list(limit=1000)]
        case "model":
            model = client.models.retrieve(call["model"])
            return {"id": model.id, "display_name": model.display_name}
        case unknown:
            raise ValueError(f"no call named {unknown}")


def error_of(error):
    return {
        "class": type(error).__name__,
        "is_api_error": isinstance(error, anthropic.APIError),
        "status": getattr(error, "status_code", None),
        "type": getattr(error, "type", None),
        "message": getattr(error, "api_message", None),
        "request_id": getattr(error, "request_id", None),
        "text": str(error),
    }


def client_of(call, base_url, http_client):
    """The client of the API that the call is for. Where a cloud's own credential would be, stands the gateway's key."""
    common = {"base_url": base_url + call.get("base", ""), "http_client": http_client}
    key = call["key"]
    match call.get("api", "anthropic"):
        case "anthropic":
            return anthropic.Anthropic(api_key=key, **common)
        case "bedrock" if call.get("signs"):
            secret = {"aws_access_key": "AKIDEXAMPLE", "aws_secret_key": key}
            return anthropic.AnthropicBedrock(aws_region="us-east-1", **secret, **common)
        case "bedrock":
            return anthropic.AnthropicBedrock(aws_region="us-east-1", api_key=key, **common)
        case "vertex":
            place = {"region": "europe-west1", "project_id": "of-the-client"}
            return anthropic.AnthropicVertex(access_token=key, **place, **common)
        case "foundry":
            return anthropic.AnthropicFoundry(api_key=key, **common)
        case "aws":
            place = {"aws_region": "us-east-1", "workspace_id": "wrkspc_of_the_client"}
            return anthropic.AnthropicAWS(api_key=key, **place, **common)
        case unknown:
            raise ValueError(f"no API named {unknown}")


def main():
    told = json.load(sys.stdin)
    exchanges, results = [], []
    for call in told["calls"]:
        recorded = anthropic.DefaultHttpxClient(transport=Recording(exchanges))
        client = client_of(call, told["base_url"], recorded)
        before = len(exchanges)
        try:
            result = {"ok": perform(client.with_options(max_retries=call.get("retries", 0)), call)}
        except (anthropic.AnthropicError, httpx2.HTTPError) as error:  # a dropped stream comes as the latter
            result = {"error": error_of(error)}
        results.append({**result, "attempts": len(exchanges) - before})
    json.dump({"results": results, "exchanges": exchanges}, sys.stdout)


main()
