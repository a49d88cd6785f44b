//! The TypeScript SDK.

use crate::sandbox::isolated;
use crate::sdk::Sdk::TypeScript;
use crate::sdk_checks;

#[test]
fn answers_and_streams_arrive_whole() {
    isolated(|| sdk_checks::answers_and_streams_arrive_whole(TypeScript));
}

#[test]
fn tokens_are_counted_and_not_billed() {
    isolated(|| sdk_checks::tokens_are_counted_and_not_billed(TypeScript));
}

#[test]
fn models_of_the_key_are_listed() {
    isolated(|| sdk_checks::models_of_the_key_are_listed(TypeScript));
}

#[test]
fn own_refusals_raise_the_right_class() {
    isolated(|| sdk_checks::own_refusals_raise_the_right_class(TypeScript));
}

#[test]
fn upstream_errors_keep_their_class_and_words() {
    isolated(|| sdk_checks::upstream_errors_keep_their_class_and_words(TypeScript));
}

#[test]
fn an_error_inside_a_stream_is_raised() {
    isolated(|| sdk_checks::an_error_inside_a_stream_is_raised(TypeScript));
}

#[test]
fn tools_and_thinking_are_parsed() {
    isolated(|| sdk_checks::tools_and_thinking_are_parsed(TypeScript));
}

#[test]
fn an_empty_budget_is_told_once() {
    isolated(|| sdk_checks::an_empty_budget_is_told_once(TypeScript));
}
