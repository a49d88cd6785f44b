// Makes calls with the TypeScript SDK as told on stdin, and prints what the SDK made of the answers.
//
// stdin:  {"base_url", "calls": [{"do", "key", "model", "api", "base", "signs", "sim", "prompt", "tools", "thinking", "retries"}]}
// stdout: {"results": [{"ok": …} | {"error": …}], "exchanges": [what crossed the wire, one per HTTP exchange]}

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

// The SDKs are installed beside the build's other output, not beside this file: WEIR_CLIENTS says where.
const installed = createRequire(`${process.env.WEIR_CLIENTS}/`);
const { default: Anthropic } = installed("@anthropic-ai/sdk");

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
  const thinking = call.thinking ? { thinking: { type: "adaptive" } } : {};
  return { ...body, ...thinking, ...(call.tools ? { tools: [TOOL] } : {}) };
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
    text: error.message,
  };
}

// The client of the API that the call is for. Where a cloud's own credential would be, stands the gateway's key.
function clientOf(call, baseURL, fetch) {
  const { key } = call;
  const common = { baseURL: baseURL + (call.base ?? ""), maxRetries: call.retries ?? 0, fetch };
  const api = call.api ?? "anthropic";
  switch (api) {
    case "anthropic":
      return new Anthropic({ ...common, apiKey: key });
    case "bedrock": {
      const { AnthropicBedrock } = installed("@anthropic-ai/bedrock-sdk");
      const credential = call.signs ? { awsAccessKey: "AKIDEXAMPLE", awsSecretKey: key } : { apiKey: key };
      return new AnthropicBedrock({ ...common, ...credential, awsRegion: "us-east-1" });
    }
    case "vertex": {
      const { AnthropicVertex } = installed("@anthropic-ai/vertex-sdk");
      const authClient = { getRequestHeaders: async () => new Headers({ authorization: `Bearer ${key}` }) };
      return new AnthropicVertex({ ...common, authClient, region: "europe-west1", projectId: "of-the-client" });
    }
    case "foundry": {
      const { AnthropicFoundry } = installed("@anthropic-ai/foundry-sdk");
      return new AnthropicFoundry({ ...common, apiKey: key });
    }
    case "aws": {
      const { AnthropicAws } = installed("@anthropic-ai/aws-sdk");
      return new AnthropicAws({ ...common, apiKey: key, awsRegion: "us-east-1", workspaceId: "wrkspc_of_the_client" });
    }
    default:
      throw new Error(`no API named ${api}`);
  }
}

const told = JSON.parse(readFileSync(0, "utf8"));
const exchanges = [];
const results = [];
for (const call of told.calls) {
  const client = clientOf(call, told.base_url, recording(exchanges));
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
