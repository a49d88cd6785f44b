//! boto3, the AWS SDK for Python, on `invoke_model` and `invoke_model_with_response_stream`.

use crate::platform_checks;
use crate::platforms::{Api, Client};
use crate::sandbox::isolated;
use crate::sdk::Sdk::Boto3;

const BEDROCK: Client = Client { sdk: Boto3, api: Api::Bedrock };

#[test]
fn answers_arrive_whole_from_every_upstream() {
    isolated(|| platform_checks::answers_arrive_whole_from_every_upstream(BEDROCK));
}

#[test]
fn errors_keep_their_class_and_words_from_every_upstream() {
    isolated(|| platform_checks::errors_keep_their_class_and_words_from_every_upstream(BEDROCK));
}

#[test]
fn a_stream_that_breaks_off_is_raised() {
    isolated(|| platform_checks::a_stream_that_breaks_off_is_raised(BEDROCK));
}

#[test]
fn own_refusals_are_in_the_clients_words() {
    isolated(|| platform_checks::own_refusals_are_in_the_clients_words(BEDROCK));
}
