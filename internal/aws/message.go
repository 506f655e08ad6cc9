package aws

// MaxAttributes is the maximum number of attributes of a message: raw delivery to SQS drops messages with more.
// https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html
const MaxAttributes = 10
