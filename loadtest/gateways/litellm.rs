//! LiteLLM's proxy, one worker, no database: its pass-through of the Messages format.

use super::{Dir, Running, Setup, StartError, command, family, find, free_address, wait_for_port};
use std::time::{Duration, Instant};

/// It imports for long before it listens.
const READY_WITHIN: Duration = Duration::from_secs(90);
const KEY: &str = "sk-compare-client";

pub(super) fn start(setup: &Setup) -> Result<Running, StartError> {
    let program = find("litellm").ok_or(StartError::NotInstalled("pip install 'litellm[proxy]'"))?;
    let began = Instant::now();
    let (dir, addr) = (Dir::new("litellm")?, free_address()?);
    let models: String = ["claude-sonnet-4-6", "claude-haiku-4-5-20251001"]
        .iter()
        .map(|model| {
            format!(
                "  - model_name: {model}\n    litellm_params:\n      model: anthropic/{model}\n      \
                 api_base: http://{}\n      api_key: sk-compare-provider\n",
                setup.provider
            )
        })
        .collect();
    let config = format!("model_list:\n{models}general_settings:\n  master_key: {KEY}\n");
    let config = dir.write("litellm.yaml", &config)?;
    let port = addr.port().to_string();
    let mut command = command(&program, setup, &dir)?;
    command.args(["--host", "127.0.0.1", "--num_workers", "1", "--port", &port]).arg("--config").arg(config);
    if let Some(tls) = &setup.tls {
        command.arg("--ssl_certfile_path").arg(dir.write("tls.crt", &tls.chain_pem)?);
        command.arg("--ssl_keyfile_path").arg(dir.write("tls.key", &tls.key_pem)?);
    }
    // Nothing of it may look for the world outside.
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("LITELLM_TELEMETRY", "False");
    let mut child = command.spawn()?;
    wait_for_port(&mut child, &dir, addr, READY_WITHIN)?;
    let pids = family(child.id());
    let gateway = setup.gateway("litellm", addr, pids, Some(KEY));
    Ok(Running { gateway, ready_after: began.elapsed(), child, dir })
}
