// Makes calls with the TypeScript SDK as told on stdin, and prints what the SDK made of the answers.
//
// stdin:  {"base_url", "calls": [{"do", "key", "model", "sim", "prompt", "tools"}]}
// stdout: {"results": [{"ok": …} | {"error": …}], "exchanges": [what crossed the wire, one per HTTP exchange]}

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

// The SDK is installed beside the build's other output, not beside this file: WEIR_CLIENTS says where.
const { default: Anthropic } = createRequire(`${process.env.WEIR_CLIENTS}/`)("@anthropic-ai/sdk");

const TOOL = {
  name: "list_files",
  description: "Lists a folder",
  input_schema: { type: "object", properties: { path: { type: "string" } } },
};

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

// A fetch that notes every exchange: both bodies' digests, the status, who answered.
function recording(exchanges) {
  return async (url, init) => {
    const { pathname, search } = new URL(url);
    const exchange = {
      method: init.method.toUpperCase(),
      path: pathname + search,
      request_sha256: digest(init.body ?? ""),
      response_sha256: digest(""),
    };
    exchanges.push(exchange);
    const response = await fetch(url, init);
    exchange.status = response.status;
    exchange.headers = Object.fromEntries(response.headers);
    const sha256 = createHash("sha256");
    const digesting = new TransformStream({
      transform(part, controller) {
        sha256.update(part);
        exchange.response_sha256 = sha256.copy().digest("hex");
        controller.enqueue(part);
      },
    });
    const { status, statusText, headers } = response;
    return new Response(response.body?.pipeThrough(digesting) ?? null, { status, statusText, headers });
  };
}

function messageOf(message) {
  return {
    id: message.id,
    model: message.model,
    stop_reason: message.stop_reason,
    content: message.content,
    text: message.content.map((block) => (block.type === "text" ? block.text : "")).join(""),
    input_tokens: message.usage.input_tokens,
    output_tokens: message.usage.output_tokens,
  };
}

function asked(call) {
  const body = { model: call.model, messages: [{ role: "user", content: call.prompt ?? "Say something." }] };
  return call.tools ? { ...body, tools: [TOOL] } : body;
}

async function perform(client, call) {
  const options = call.sim ? { headers: { "anthropic-sim": call.sim } } : {};
  switch (call.do) {
    case "message":
      return messageOf(await client.messages.create({ max_tokens: 1024, ...asked(call) }, options));
    case "stream": {
      const stream = client.messages.stream({ max_tokens: 1024, ...asked(call) }, options);
      const events = [];
      let text = "";
      stream.on("streamEvent", (event) => events.push(event.type));
      stream.on("text", (delta) => (text += delta));
      return { ...messageOf(await stream.finalMessage()), events, streamed_text: text };
    }
    case "count_tokens":
      return { input_tokens: (await client.messages.countTokens(asked(call), options)).input_tokens };
    case "models": {
      const models = [];
      for await (const { id, display_name } of client.models.list({ limit: 1000 })) models.push({ id, display_name });
      return models;
    }
    case "model": {
      const { id, display_name } = await client.models.retrieve(call.model);
      return { id, display_name };
    }
    default:
      throw new Error(`no call named ${call.do}`);
  }
}

function errorOf(error) {
  return {
    class: error.constructor.name,
    is_api_error: error instanceof Anthropic.APIError,
    status: error.status ?? null,
    type: error.type ?? null,
    message: error.apiMessage ?? null,
    request_id: error.requestID ?? null,
  };
}

const told = JSON.parse(readFileSync(0, "utf8"));
const exchanges = [];
const results = [];
for (const call of told.calls) {
  const client = new Anthropic({
    baseURL: told.base_url,
    apiKey: call.key,
    maxRetries: call.retries ?? 0,
    fetch: recording(exchanges),
  });
  const before = exchanges.length;
  let result;
  try {
    result = { ok: await perform(client, call) };
  } catch (error) {
    if (!(error instanceof Anthropic.AnthropicError)) throw error;
    result = { error: errorOf(error) };
  }
  results.push({ ...result, attempts: exchanges.length - before });
}
process.stdout.write(JSON.stringify({ results, exchanges }));
