//! Golden files between formats: what a client of one format sends, what an upstream of another gets, byte for byte, and the
//! same for the way back. `tests/golden/bridges/README.md` says how they are named and written anew.
//!
//! Each file goes through the real gateway. Streams and requests also go through the bridge alone, cut at every byte: the bytes
//! must be those of the file wherever a read ends.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use weir::data::relay::meter::{Look, Meter};
use weir::data::spare::Spare;
use weir::dialect::bridge::{self, Ask, FramesToSse, SseToFrames, Text};
use weir::kernel::record::{Format, Operation};

use crate::fixture::{ALICE_KEY, start_at};
use crate::raw_upstream::RawUpstream;
use crate::support::Weir;
use crate::support::http::{self, Response};

#[path = "golden/file.rs"]
mod file;

use file::{Differences, Golden, plain, wire};

/// A client's format on an upstream of another.
#[derive(Clone, Copy, Debug)]
struct Direction {
    client: Format,
    upstream: Format,
}

const DIRECTIONS: [Direction; 6] = {
    use Format::{Anthropic, Bedrock, Vertex};
    const fn of(client: Format, upstream: Format) -> Direction {
        Direction { client, upstream }
    }
    [
        of(Anthropic, Bedrock),
        of(Anthropic, Vertex),
        of(Bedrock, Anthropic),
        of(Bedrock, Vertex),
        of(Vertex, Anthropic),
        of(Vertex, Bedrock),
    ]
};

fn name(format: Format) -> &'static str {
    match format {
        Format::Anthropic => "anthropic",
        Format::Bedrock => "bedrock",
        Format::Vertex => "vertex",
    }
}

/// The model of the configuration that only an upstream of this format serves.
fn model(upstream: Format) -> &'static str {
    match upstream {
        Format::Anthropic => "claude-sonnet-5",
        Format::Bedrock => "claude-haiku-5-5",
        Format::Vertex => "claude-opus-5",
    }
}

impl Direction {
    fn folder(self) -> String {
        format!("{}-on-{}", name(self.client), name(self.upstream))
    }

    /// What its clients send.
    fn requests(self) -> Vec<Golden> {
        file::read_all(name(self.client), "request")
    }

    /// What its upstreams answer.
    fn answers(self) -> Vec<Golden> {
        file::read_all(name(self.upstream), "response")
    }

    /// The request of its client to which this is an answer.
    fn asked_by(self, answer: &Golden) -> Golden {
        let feature = match () {
            () if answer.feature == "count_tokens" => "count_tokens",
            () if answer.is_stream() => "text",
            () => "text_whole",
        };
        file::read(name(self.client), &format!("{feature}.request"))
    }
}

/// What the upstream has got, and what it is to answer.
#[derive(Default)]
struct Stage {
    got: Vec<u8>,
    answer: Vec<u8>,
    ends_early: bool,
}

struct Theatre {
    weir: Weir,
    upstream: RawUpstream,
    stage: Arc<Mutex<Stage>>,
}

fn theatre() -> Theatre {
    let stage = Arc::<Mutex<Stage>>::default();
    let shared = stage.clone();
    let upstream = RawUpstream::start(move |mut peer| {
        while peer.read_request().is_some() {
            let (answer, ends_early) = {
                let mut stage = shared.lock().expect("the stage");
                stage.got.clone_from(&peer.request);
                (stage.answer.clone(), stage.ends_early)
            };
            peer.send(&answer);
            if ends_early {
                break;
            }
        }
    });
    Theatre { weir: start_at(&upstream.url(), ""), upstream, stage }
}

impl Theatre {
    /// Sends a request, answers it, and gives what the upstream got and what the client read.
    fn play(&self, direction: Direction, request: &Golden, answer: Option<&Golden>) -> (Vec<u8>, Response) {
        let stage = Stage {
            got: Vec::new(),
            answer: answer.map_or_else(|| wire(400, &[], b"{}", false), Golden::on_the_wire),
            ends_early: answer.is_some_and(Golden::ends_early),
        };
        *self.stage.lock().expect("the stage") = stage;
        let request = request.for_model(model(direction.upstream));
        let (path, mut headers) = request.asked();
        headers.push(("x-api-key", ALICE_KEY));
        let answer = http::request(self.weir.clients(), "POST", path, &headers, &request.body);
        self.upstream.check();
        let got = self.stage.lock().expect("the stage").got.clone();
        (got, answer)
    }
}

#[test]
fn a_request_changes_in_another_format_by_more_or_less_than_it_must() {
    let theatre = theatre();
    let mut differences = Differences::default();
    for direction in DIRECTIONS {
        for request in direction.requests() {
            let (got, read) = theatre.play(direction, &request, None);
            let told = match got.is_empty() {
                true => [b"REFUSED\n", &plain::answer(&read)[..]].concat(),
                false => plain::request(&got, &theatre.upstream.addr().to_string(), read.header("x-weir-dropped")),
            };
            differences.settle(&direction.folder(), &request.feature, "request", &told);
        }
    }
    differences.assert_none();
}

#[test]
fn an_answer_changes_in_another_format_by_more_or_less_than_it_must() {
    let theatre = theatre();
    let mut differences = Differences::default();
    for direction in DIRECTIONS {
        for answer in direction.answers() {
            let (_, read) = theatre.play(direction, &direction.asked_by(&answer), Some(&answer));
            differences.settle(&direction.folder(), &answer.feature, "response", &plain::answer(&read));
        }
    }
    differences.assert_none();
}

#[test]
fn a_request_reads_differently_where_a_packet_ends() {
    for direction in DIRECTIONS {
        for request in direction.requests() {
            let request = request.for_model(model(direction.upstream));
            let expected = file::expected(&direction.folder(), &request.feature, "request");
            let headers = request.asked().1;
            let betas = headers.iter().filter(|(name, _)| *name == "anthropic-beta").map(|(_, value)| value.as_bytes());
            let betas: Vec<&[u8]> = betas.collect();
            let version = headers.iter().find(|(name, _)| *name == "anthropic-version").map(|(_, v)| v.as_bytes());
            let ask = ask(direction, &request, version, &betas);
            let whole = bridge::bridge(Text(&[&request.body]), &ask);
            for cut in 0..=request.body.len() {
                let (front, back) = request.body.split_at(cut);
                let said = bridge::bridge(Text(&[front, back]), &ask);
                assert_eq!(said, whole, "{direction:?} {} cut at {cut}", request.feature);
            }
            // What is refused before it comes to the bridge says nothing of it.
            if expected.head[0] != "REFUSED" {
                let edited = file::edited(&request.body, &whole.expect("said").edits);
                assert_eq!(text(&edited), text(&expected.body), "{direction:?} {}", request.feature);
            }
        }
    }
}

fn ask<'a>(direction: Direction, request: &Golden, version: Option<&'a [u8]>, betas: &'a [&'a [u8]]) -> Ask<'a> {
    let path = request.asked().0;
    let counting = path.contains("count") && path.contains("token");
    Ask {
        from: direction.client,
        to: direction.upstream,
        operation: if counting { Operation::CountTokens } else { Operation::Messages },
        model: model(direction.upstream),
        stream: (direction.client != Format::Anthropic).then(|| path.contains("tream")),
        version,
        betas,
        refused: &[],
    }
}

#[test]
fn a_stream_reads_differently_where_a_packet_ends() {
    for direction in DIRECTIONS {
        for answer in direction.answers().into_iter().filter(Golden::is_stream) {
            let sent = answer.payload();
            let Some(whole) = said(direction, &[&sent]) else { continue };
            let expected = file::expected(&direction.folder(), &answer.feature, "response").body;
            // What broke off goes on with words of the gateway's own.
            assert!(expected.starts_with(&whole), "{direction:?} {}", answer.feature);
            assert!(answer.ends_early() || expected.len() == whole.len(), "{direction:?} {}", answer.feature);
            // The same codec as with the others.
            let cuts = if matches!(direction.client, Format::Vertex) { 0 } else { sent.len() };
            for cut in 0..=cuts {
                let (front, back) = sent.split_at(cut);
                let cut_in_two = said(direction, &[front, back]);
                assert_eq!(cut_in_two.as_ref(), Some(&whole), "{direction:?} {} cut at {cut}", answer.feature);
            }
            let single: Vec<&[u8]> = sent.chunks(1).collect();
            assert_eq!(said(direction, &single).as_ref(), Some(&whole), "{direction:?} {} in bytes", answer.feature);
        }
    }
}

/// A stream said anew, read in these pieces. `None` where both formats say it alike.
fn said(direction: Direction, pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match direction {
        Direction { upstream: Format::Bedrock, .. } => {
            let mut frames = FramesToSse::default();
            pieces.iter().for_each(|piece| frames.feed(piece, &mut out).expect("frames"));
        }
        Direction { client: Format::Bedrock, .. } => {
            let mut meter = Meter::new(true);
            let content_type = b"text/event-stream; charset=utf-8";
            meter.fit(Look { billable: true, status: 200, content_type, encoded: false }, &mut Spare::default());
            let mut events = SseToFrames::default();
            for piece in pieces {
                meter.feed(piece);
                events.feed(piece, || meter.tally().usage(), &mut out).expect("events");
            }
        }
        _ => return None,
    }
    Some(out)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_golden_file_belongs_to_nobody() {
    // What is no longer asked for would look like a promise.
    let root = Path::new(file::ROOT);
    for direction in DIRECTIONS {
        let known: Vec<String> = direction
            .requests()
            .iter()
            .map(|golden| format!("{}.request", golden.feature))
            .chain(direction.answers().iter().map(|golden| format!("{}.response", golden.feature)))
            .collect();
        let folder = fs::read_dir(root.join(direction.folder())).expect("a folder for each direction");
        for entry in folder {
            let found = entry.expect("an entry").file_name().into_string().expect("a name");
            assert!(known.contains(&found), "{}/{found} has no file that it comes from", direction.folder());
        }
        assert!(known.len() > 30, "{} files for {direction:?}", known.len());
    }
}
