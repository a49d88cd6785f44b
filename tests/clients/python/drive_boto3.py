"""Makes calls with boto3's bedrock-runtime as told on stdin, and prints what boto3 made of the answers.

stdin and stdout are those of drive.py. Of the exchanges, boto3 shows the request's body, and the answer's where it is no stream.
"""

import hashlib
import json
import os
import sys

import boto3
import botocore.exceptions
from botocore.config import Config

TOOL = {
    "name": "list_files",
    "description": "Lists a folder",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
}


def client_of(call, base_url, exchanges):
    os.environ.pop("AWS_BEARER_TOKEN_BEDROCK", None)
    credential = {}
    if call.get("signs"):
        credential = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": call["key"]}
    else:
        os.environ["AWS_BEARER_TOKEN_BEDROCK"] = call["key"]
    retries = {"total_max_attempts": call.get("retries", 0) + 1, "mode": "standard"}
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=base_url + call.get("base", ""),
        config=Config(retries=retries),
        **credential,
    )

    def note(request, **_):
        path = "/" + request.url.split("/", 3)[3]
        digest = hashlib.sha256(request.body or b"").hexdigest()
        exchanges.append({"method": request.method, "path": path, "request_sha256": digest})

    client.meta.events.register_last("before-send.bedrock-runtime.*", note)
    return client


def body_of(call):
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": call.get("prompt", "Say something.")}],
    }
    if call.get("tools"):
        body["tools"] = [TOOL]
    if call.get("thinking"):
        body["thinking"] = {"type": "adaptive"}
    return json.dumps(body)


def noted(response, exchanges):
    metadata = response["ResponseMetadata"]
    exchanges[-1] |= {"status": metadata["HTTPStatusCode"], "headers": metadata["HTTPHeaders"]}
    return response


def message_of(message):
    return {
        "content": message["content"],
        "text": "".join(block["text"] for block in message["content"] if block["type"] == "text"),
        "stop_reason": message["stop_reason"],
        "input_tokens": message["usage"]["input_tokens"],
        "output_tokens": message["usage"]["output_tokens"],
    }


def gathered(events):
    """The message that the events of a stream tell."""
    message, inputs = {}, {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] = delta["signature"]
                    case "input_json_delta":
                        inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            case "message_delta":
                message["stop_reason"] = event["delta"]["stop_reason"]
                message["usage"] |= event["usage"]
    for index, text in inputs.items():
        message["content"][index]["input"] = json.loads(text)
    return message


def perform(client, call, exchanges):
    match call["do"]:
        case "message":
            answer = noted(client.invoke_model(modelId=call["model"], body=body_of(call)), exchanges)
            body = answer["body"].read()
            exchanges[-1]["response_sha256"] = hashlib.sha256(body).hexdigest()
            return message_of(json.loads(body))
        case "stream":
            ask = client.invoke_model_with_response_stream
            answer = noted(ask(modelId=call["model"], body=body_of(call)), exchanges)
            events = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
            kinds = [event["type"] for event in events]
            message = message_of(gathered(events))
            metrics = events[-1]["amazon-bedrock-invocationMetrics"]
            return {**message, "events": kinds, "streamed_text": message["text"], "metrics": metrics}
        case "count_tokens":
            asked = {"invokeModel": {"body": body_of(call)}}
            answer = noted(client.count_tokens(modelId=call["model"], input=asked), exchanges)
            return {"input_tokens": answer["inputTokens"]}
        case unknown:
            raise ValueError(f"no call named {unknown}")


def error_of(error):
    response = getattr(error, "response", {})
    told = response.get("Error", {})
    return {
        "class": type(error).__name__,
        "is_api_error": isinstance(error, botocore.exceptions.ClientError),
        "status": response.get("ResponseMetadata", {}).get("HTTPStatusCode"),
        "type": told.get("Code"),
        "message": told.get("Message"),
        "request_id": response.get("ResponseMetadata", {}).get("RequestId"),
        "text": str(error),
    }


def main():
    told = json.load(sys.stdin)
    exchanges, results = [], []
    for call in told["calls"]:
        before = len(exchanges)
        client = client_of(call, told["base_url"], exchanges)
        try:
            result = {"ok": perform(client, call, exchanges)}
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            result = {"error": error_of(error)}
        results.append({**result, "attempts": len(exchanges) - before})
    json.dump({"results": results, "exchanges": exchanges}, sys.stdout)


main()
