//! What the provider keeps for the workspace that made it: batches and files (contract.md §1.4). Another workspace's are not
//! there. A batch is done as soon as somebody looks at it after it was made; what it bills enters the books then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::answer::JsonReply;
use super::ask::{Ask, fingerprint};
use super::books::{BilledUsage, Outcome};
use super::conn::Conn;
use super::exchange::{After, Exchange};
use super::message::Message;
use super::reply::{BodyLength, ReplyHead};
use super::script::{ContentScript, Script, UsageScript};
use super::writer::Writer;

/// Objects on a page unless the client asks otherwise.
const LIMIT_DEFAULT: usize = 20;

/// Everything kept.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Things>);

#[derive(Debug, Default)]
struct Things {
    batches: HashMap<String, Batch>,
    files: HashMap<String, File>,
    /// Containers, and messages that threads go on from, with whose they are.
    running: HashMap<String, String>,
    /// Ids in the order they were made.
    order: Vec<String>,
}

#[derive(Debug)]
struct Batch {
    owner: String,
    requests: Vec<Value>,
    canceled: bool,
    billed: bool,
    looked: bool,
}

#[derive(Debug)]
struct File {
    owner: String,
    name: String,
    bytes: Vec<u8>,
}

/// An answer, its content type among it.
struct Told(u16, &'static str, Vec<u8>);

impl Told {
    fn json(value: &Value) -> Told {
        Told(200, "application/json", value.to_string().into_bytes())
    }
}

impl Exchange<'_> {
    /// Answers on a path of batches or files; on any other there is nothing.
    pub(super) async fn kept(&mut self, conn: &mut Conn, script: &Script, path: &str, body: &[u8]) -> After {
        if let Some(status) = script.status.status.filter(|status| *status != 200) {
            return self.refuse(conn, status, "scripted").await;
        }
        let told = match path.strip_prefix("/v1/messages/batches") {
            Some(rest) => self.batch(rest, body),
            None => path.strip_prefix("/v1/files").and_then(|rest| self.file(rest, body)).ok_or((404, "Not found")),
        };
        match told {
            Ok(told) => self.tell(conn, script, told).await,
            Err((status, message)) => self.refuse(conn, status, message).await,
        }
    }

    pub(super) async fn messages(&mut self, conn: &mut Conn, script: Script, body: &[u8]) -> After {
        self.report.billable = true;
        let ask = match self.ask(&script, body, false) {
            Ok(ask) => ask,
            Err(message) => return self.refuse(conn, 400, &message).await,
        };
        let lost = |id: &&String| !id.is_empty() && self.things().running.get(*id) != Some(&self.owner());
        if let Some(id) = ask.container.as_ref().filter(lost) {
            return self.refuse(conn, 404, &format!("Container {id} not found")).await;
        }
        if let Some(id) = ask.thread.as_ref().filter(lost) {
            let text = format!("No message {id} with a thread to go on");
            let body = self.error_body(404, &text, Some("thread_not_found"));
            return self.json(conn, &script, JsonReply { status: 404, ..JsonReply::ok(body) }).await;
        }
        self.asked(conn, script, ask).await
    }

    /// The container that an answer runs in, where one is asked for; the answer itself, where a thread goes on from it.
    pub(super) fn keeps_running(&self, ask: &Ask, message: &str) -> Option<String> {
        let owner = self.owner();
        if ask.thread.is_some() {
            self.things().running.insert(message.to_owned(), owner.clone());
        }
        let asked = ask.container.as_ref()?;
        let id = if asked.is_empty() { self.id("container_01", 5) } else { asked.clone() };
        self.things().running.insert(id.clone(), owner);
        Some(id)
    }

    async fn tell(&mut self, conn: &mut Conn, script: &Script, Told(status, kind, body): Told) -> After {
        if script.content.first_ms > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(script.content.first_ms)).await;
        }
        if kind == "application/json" {
            let reply = JsonReply { status, ..JsonReply::ok(body) };
            return self.json(conn, script, reply).await;
        }
        let head = ReplyHead {
            status,
            format: self.format,
            request_id: &self.request_id,
            content_type: kind,
            body: BodyLength::Known(body.len()),
            close: false,
            gzip: false,
            trailers: false,
            ratelimits: false,
            extra: "",
        }
        .write();
        self.report.status = status;
        let mut writer = Writer::new(conn, &script.framing, self.full, self.number);
        writer.head(&head, None, false);
        let sent = async {
            writer.payload(&body).await?;
            writer.finish().await
        };
        let whole = sent.await.is_ok();
        self.report.response = writer.sums();
        self.report.outcome = if whole { Outcome::Completed } else { Outcome::ClientGone };
        if whole { After::KeepAlive } else { After::Close }
    }

    fn owner(&self) -> String {
        self.credential().map(fingerprint).unwrap_or_default()
    }

    fn things(&self) -> MutexGuard<'_, Things> {
        self.state.kept.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&mut self, rest: &str, body: &[u8]) -> Result<Told, (u16, &'static str)> {
        let (id, verb) = rest.trim_start_matches('/').split_once('/').unwrap_or((rest.trim_start_matches('/'), ""));
        let owner = self.owner();
        match (self.head.method(), id, verb) {
            ("POST", "", _) => return self.make_batch(owner, body),
            ("GET", "", _) => {
                return Ok(self.page(|things, id| {
                    let batch = things.batches.get(id).filter(|batch| batch.owner == owner)?;
                    Some(self.shown_batch(id, batch))
                }));
            }
            _ => {}
        }
        let mut things = self.things();
        let Some(batch) = things.batches.get_mut(id).filter(|batch| batch.owner == owner) else {
            return Err((404, "No batch found with this id"));
        };
        let mut billed = None;
        let told = match (self.head.method(), verb) {
            ("GET", "") => {
                let told = Told::json(&self.shown_batch(id, batch));
                batch.looked = true;
                told
            }
            ("POST", "cancel") => {
                batch.canceled = !batch.billed;
                Told::json(&self.shown_batch(id, batch))
            }
            ("GET", "results") => {
                let (lines, usage) = self.results(id, batch);
                billed = Some((usage, !std::mem::replace(&mut batch.billed, true), batch.model()));
                Told(200, "application/x-jsonl", lines)
            }
            ("DELETE", "") => {
                things.batches.remove(id);
                Told::json(&json!({ "id": id, "type": "message_batch_deleted" }))
            }
            _ => return Err((405, "Method Not Allowed")),
        };
        drop(things);
        if let Some((usage, true, model)) = billed {
            self.report.billable = true;
            (self.report.model, self.report.usage) = (model, usage);
        }
        Ok(told)
    }

    fn make_batch(&mut self, owner: String, body: &[u8]) -> Result<Told, (u16, &'static str)> {
        let asked: Value = serde_json::from_slice(body).map_err(|_| (400, "The request body is not valid JSON"))?;
        let requests =
            asked["requests"].as_array().filter(|all| !all.is_empty()).ok_or((400, "requests: Field required"))?;
        for request in requests {
            let params = request["params"].to_string();
            if Ask::parse(params.as_bytes(), false, &[]).is_err() || request["custom_id"].as_str().is_none() {
                return Err((400, "requests: custom_id and valid params are required"));
            }
        }
        let id = self.id("msgbatch_01", 3);
        let batch = Batch { owner, requests: requests.clone(), canceled: false, billed: false, looked: false };
        let shown = self.shown_batch(&id, &batch);
        let mut things = self.things();
        things.order.push(id.clone());
        things.batches.insert(id, batch);
        Ok(Told::json(&shown))
    }

    fn shown_batch(&self, id: &str, batch: &Batch) -> Value {
        let ended = batch.looked || batch.canceled || batch.billed;
        let host = self.head.text("host").unwrap_or("localhost");
        let url = ended.then(|| format!("http://{host}/v1/messages/batches/{id}/results"));
        let status = if ended { "ended" } else { "in_progress" };
        json!({
            "id": id, "type": "message_batch", "processing_status": status,
            "request_counts": { "processing": if ended { 0 } else { batch.requests.len() } },
            "created_at": "2026-11-21T00:00:00Z", "results_url": url,
        })
    }

    /// The lines of a batch's results, and what they bill. Requests whose `custom_id` begins with `fail` do.
    fn results(&self, id: &str, batch: &Batch) -> (Vec<u8>, BilledUsage) {
        let (mut lines, mut billed) = (Vec::new(), BilledUsage::default());
        for (nth, request) in batch.requests.iter().enumerate() {
            let name = request["custom_id"].as_str().unwrap_or_default();
            let result = if batch.canceled {
                json!({ "type": "canceled" })
            } else if name.starts_with("fail") {
                json!({ "type": "errored", "error": { "type": "error", "error": { "type": "api_error" } } })
            } else {
                let params = request["params"].to_string();
                let ask = Ask::parse(params.as_bytes(), false, &[]).unwrap_or_default();
                let usage = UsageScript { tier: Some("batch".to_owned()), ..UsageScript::default() };
                let made_of = id.trim_start_matches("msgbatch_");
                let (id, tool_id) = (format!("msg_{made_of}{nth}"), format!("toolu_{made_of}{nth}"));
                let message = Message::new(&ask, &ContentScript::default(), &usage, id, tool_id);
                billed.add(&message.usage);
                let message = message.json(&self.state.corpus, &ContentScript::default());
                json!({ "type": "succeeded", "message": serde_json::from_slice::<Value>(&message).unwrap_or_default() })
            };
            lines.extend_from_slice(json!({ "custom_id": name, "result": result }).to_string().as_bytes());
            lines.push(b'\n');
        }
        (lines, billed)
    }

    fn file(&mut self, rest: &str, body: &[u8]) -> Option<Told> {
        let (id, verb) = rest.trim_start_matches('/').split_once('/').unwrap_or((rest.trim_start_matches('/'), ""));
        let owner = self.owner();
        let shown = |id: &str, file: &File| json!({ "id": id, "type": "file", "filename": file.name, "size_bytes": file.bytes.len(), "downloadable": true });
        match (self.head.method(), id) {
            ("POST", "") => {
                let (name, bytes) = part(self.head.text("content-type")?, body)?;
                let id = self.id("file_01", 4);
                let file = File { owner, name, bytes: bytes.to_vec() };
                let told = Told::json(&shown(&id, &file));
                let mut things = self.things();
                things.order.push(id.clone());
                things.files.insert(id, file);
                return Some(told);
            }
            ("GET", "") => {
                return Some(
                    self.page(|things, id| Some(shown(id, things.files.get(id).filter(|file| file.owner == owner)?))),
                );
            }
            _ => {}
        }
        let mut things = self.things();
        let file = things.files.get(id).filter(|file| file.owner == owner)?;
        match (self.head.method(), verb) {
            ("GET", "") => Some(Told::json(&shown(id, file))),
            ("GET", "content") => Some(Told(200, "application/octet-stream", file.bytes.clone())),
            ("DELETE", "") => {
                things.files.remove(id);
                Some(Told::json(&json!({ "id": id, "type": "file_deleted" })))
            }
            _ => None,
        }
    }

    /// A page of objects, the newest first.
    fn page(&self, show: impl Fn(&Things, &str) -> Option<Value>) -> Told {
        let query = self.head.target().split_once('?').map_or("", |(_, query)| query);
        let asked = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let limit = asked("limit").and_then(|limit| limit.parse().ok()).unwrap_or(LIMIT_DEFAULT);
        let things = self.things();
        let all: Vec<(&String, Value)> =
            things.order.iter().rev().filter_map(|id| Some((id, show(&things, id)?))).collect();
        let from =
            asked("after_id").and_then(|after| all.iter().position(|(id, _)| *id == after)).map_or(0, |at| at + 1);
        let shown: Vec<&Value> = all.iter().skip(from).take(limit).map(|(_, value)| value).collect();
        let id = |value: Option<&&Value>| value.map(|value| value["id"].clone());
        Told::json(&json!({
            "data": shown, "has_more": from + shown.len() < all.len(),
            "first_id": id(shown.first()), "last_id": id(shown.last()),
        }))
    }
}

impl Batch {
    fn model(&self) -> String {
        self.requests.first().and_then(|request| request["params"]["model"].as_str()).unwrap_or_default().to_owned()
    }
}

/// Name and bytes of the first file in a form.
fn part<'b>(content_type: &str, body: &'b [u8]) -> Option<(String, &'b [u8])> {
    let boundary = content_type.split_once("boundary=")?.1.trim_matches('"');
    let named = memchr::memmem::find(body, b"filename=\"")? + 10;
    let name = body.get(named..)?.split(|b| *b == b'"').next()?;
    let from = named + memchr::memmem::find(&body[named..], b"\r\n\r\n")? + 4;
    let end = memchr::memmem::rfind(body, format!("\r\n--{boundary}").as_bytes())?;
    let last = memchr::memmem::find(body.get(from..)?, format!("\r\n--{boundary}").as_bytes())?;
    Some((String::from_utf8_lossy(name).into_owned(), body.get(from..(from + last).min(end))?))
}
