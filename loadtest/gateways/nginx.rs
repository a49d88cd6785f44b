//! nginx as a plain streaming proxy. It reads bodies into 64 KiB buffers: with its default of 16 KiB a 64 KiB upload costs it
//! twice the CPU time.

use super::{
    Dir, READY_WITHIN, Running, Setup, StartError, command, family, find, free_address, wait_for_port, wait_until,
};
use std::time::Instant;

pub(super) fn start(setup: &Setup) -> Result<Running, StartError> {
    let program = find("nginx").ok_or(StartError::NotInstalled("apt-get install nginx-light"))?;
    let began = Instant::now();
    let (dir, addr) = (Dir::new("nginx")?, free_address()?);
    let place = dir.0.display();
    let provider = setup.provider;
    let (ssl, tls) = match &setup.tls {
        Some(tls) => {
            let (chain, key) = (dir.write("tls.crt", &tls.chain_pem)?, dir.write("tls.key", &tls.key_pem)?);
            let files = format!(
                "ssl_certificate {};\n        ssl_certificate_key {};\n        ssl_protocols TLSv1.2 TLSv1.3;",
                chain.display(),
                key.display()
            );
            (" ssl", files)
        }
        None => ("", String::new()),
    };
    let config = format!(
        "worker_processes 1;
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log warn;
events {{ worker_connections 16384; }}
worker_rlimit_nofile 32768;
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 64k;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream provider {{
        server {provider};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {addr}{ssl} backlog=4096;
        {tls}
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"
    );
    // Its workers must be able to write where a privileged parent has made the directory.
    let user = if is_root() { "user root;\n" } else { "" };
    let config = dir.write("nginx.conf", &format!("{user}{config}"))?;
    let mut child = command(&program, setup, &dir)?.arg("-p").arg(&dir.0).arg("-c").arg(config).spawn()?;
    wait_for_port(&mut child, &dir, addr, READY_WITHIN)?;
    let pid = child.id();
    if !wait_until(READY_WITHIN, || family(pid).len() > 1) {
        return Err(StartError::Failed(format!("it has no worker: {}", dir.tail("error.log"))));
    }
    let gateway = setup.gateway("nginx", addr, family(pid), None);
    Ok(Running { gateway, ready_after: began.elapsed(), child, dir })
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .any(|line| line.split_whitespace().take(2).eq(["Uid:", "0"]))
}
