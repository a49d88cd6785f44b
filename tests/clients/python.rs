//! The Python SDK, and its clients for the clouds.

use crate::platform_checks;
use crate::platforms::{Api, Client};
use crate::sandbox::isolated;
use crate::sdk::Sdk::Python;
use crate::sdk_checks;

const BEDROCK: Client = Client { sdk: Python, api: Api::Bedrock };
const VERTEX: Client = Client { sdk: Python, api: Api::Vertex };
const FOUNDRY: Client = Client { sdk: Python, api: Api::Foundry };
const AWS: Client = Client { sdk: Python, api: Api::Aws };

#[test]
fn answers_and_streams_arrive_whole() {
    isolated(|| sdk_checks::answers_and_streams_arrive_whole(Python));
}

#[test]
fn tokens_are_counted_and_not_billed() {
    isolated(|| sdk_checks::tokens_are_counted_and_not_billed(Python));
}

#[test]
fn models_of_the_key_are_listed() {
    isolated(|| sdk_checks::models_of_the_key_are_listed(Python));
}

#[test]
fn own_refusals_raise_the_right_class() {
    isolated(|| sdk_checks::own_refusals_raise_the_right_class(Python));
}

#[test]
fn upstream_errors_keep_their_class_and_words() {
    isolated(|| sdk_checks::upstream_errors_keep_their_class_and_words(Python));
}

#[test]
fn an_error_inside_a_stream_is_raised() {
    isolated(|| sdk_checks::an_error_inside_a_stream_is_raised(Python));
}

#[test]
fn tools_and_thinking_are_parsed() {
    isolated(|| sdk_checks::tools_and_thinking_are_parsed(Python));
}

#[test]
fn an_empty_budget_is_told_once() {
    isolated(|| sdk_checks::an_empty_budget_is_told_once(Python));
}

#[test]
fn bedrock_answers_arrive_whole_from_every_upstream() {
    isolated(|| platform_checks::answers_arrive_whole_from_every_upstream(BEDROCK));
}

#[test]
fn bedrock_errors_keep_their_class_and_words_from_every_upstream() {
    isolated(|| platform_checks::errors_keep_their_class_and_words_from_every_upstream(BEDROCK));
}

#[test]
fn bedrock_a_stream_that_breaks_off_is_raised() {
    isolated(|| platform_checks::a_stream_that_breaks_off_is_raised(BEDROCK));
}

#[test]
fn bedrock_own_refusals_are_in_the_clients_words() {
    isolated(|| platform_checks::own_refusals_are_in_the_clients_words(BEDROCK));
}

#[test]
fn vertex_answers_arrive_whole_from_every_upstream() {
    isolated(|| platform_checks::answers_arrive_whole_from_every_upstream(VERTEX));
}

#[test]
fn vertex_errors_keep_their_class_and_words_from_every_upstream() {
    isolated(|| platform_checks::errors_keep_their_class_and_words_from_every_upstream(VERTEX));
}

#[test]
fn vertex_a_stream_that_breaks_off_is_raised() {
    isolated(|| platform_checks::a_stream_that_breaks_off_is_raised(VERTEX));
}

#[test]
fn vertex_own_refusals_are_in_the_clients_words() {
    isolated(|| platform_checks::own_refusals_are_in_the_clients_words(VERTEX));
}

#[test]
fn foundry_answers_arrive_whole_from_every_upstream() {
    isolated(|| platform_checks::answers_arrive_whole_from_every_upstream(FOUNDRY));
}

#[test]
fn aws_answers_arrive_whole_from_every_upstream() {
    isolated(|| platform_checks::answers_arrive_whole_from_every_upstream(AWS));
}
