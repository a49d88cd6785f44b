//! The SDKs of the clouds, each on a gateway with upstreams of every platform.

use std::path::PathBuf;

use serde_json::Value;

use crate::gateway::{AT_BEDROCK, HAIKU, SONNET, start_everywhere, start_everywhere_tls};
use crate::sdk::{Driven, Sdk, call, with};
use crate::support::{Provider, Weir};

/// Whose API an SDK's client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    Bedrock,
    Vertex,
    Foundry,
    Aws,
}

/// One client of one SDK.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    pub sdk: Sdk,
    pub api: Api,
}

/// The models that are asked for, each served by another platform.
pub const MODELS: [&str; 3] = [SONNET, AT_BEDROCK, HAIKU];

/// The upstream that serves one of [`MODELS`].
pub fn upstream_of(model: &str) -> &'static str {
    match model {
        AT_BEDROCK => "bedrock",
        HAIKU => "vertex",
        _ => "anthropic",
    }
}

impl Client {
    /// A call by its name in the scripts, in this client's words. What the provider is to do stands in the prompt, as most headers
    /// do not reach a cloud.
    pub fn call(self, name: &str, key: &str, model: &str, sim: &str) -> Value {
        let (api, base) = match self.api {
            Api::Bedrock => ("bedrock", "/bedrock"),
            Api::Vertex => ("vertex", "/vertex/v1"),
            Api::Foundry => ("foundry", "/foundry"),
            Api::Aws => ("aws", "/anthropic-aws"),
        };
        let call = with(with(call(name, key, self.spells(model)), "api", api), "base", base);
        with(call, "prompt", format!("How deep is the river? [[sim {sim}]]"))
    }

    /// What the client's platform calls a model.
    fn spells(self, model: &str) -> &str {
        match (self.api, model) {
            (Api::Bedrock, SONNET) => "us.anthropic.claude-sonnet-4-6",
            (Api::Bedrock, AT_BEDROCK) => "us.anthropic.claude-opus-4-6-v1",
            (Api::Bedrock, HAIKU) => "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            (Api::Vertex, HAIKU) => "claude-haiku-4-5@20251001",
            _ => model,
        }
    }

    /// The model whose upstream speaks the client's own format.
    pub fn home(self) -> &'static str {
        match self.api {
            Api::Bedrock => AT_BEDROCK,
            Api::Vertex => HAIKU,
            Api::Foundry | Api::Aws => SONNET,
        }
    }

    /// The format of its requests, in the record's words.
    pub fn format(self) -> &'static str {
        match self.api {
            Api::Bedrock => "bedrock",
            Api::Vertex => "vertex",
            Api::Foundry | Api::Aws => "anthropic",
        }
    }

    /// Whether the client can count tokens; the SDKs cannot on Bedrock.
    pub fn counts(self) -> bool {
        self.api != Api::Bedrock || self.sdk == Sdk::Boto3
    }

    /// A gateway for this client. boto3 shows a bearer over TLS alone.
    pub fn meet(self, more_toml: &str) -> Meeting {
        if self.sdk == Sdk::Boto3 {
            let (provider, weir, trusted) = start_everywhere_tls(more_toml);
            return Meeting { client: self, provider, weir, trusted: Some(trusted) };
        }
        let (provider, weir) = start_everywhere(more_toml);
        Meeting { client: self, provider, weir, trusted: None }
    }
}

/// A client, its gateway and the provider behind it.
pub struct Meeting {
    pub client: Client,
    pub provider: Provider,
    pub weir: Weir,
    trusted: Option<PathBuf>,
}

impl Meeting {
    /// Makes the calls one after the other in one process.
    pub fn drive(&self, calls: &[Value]) -> Driven {
        let scheme = if self.trusted.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", self.weir.clients());
        self.client.sdk.drive_at(&url, self.trusted.as_deref(), calls)
    }
}
