package aws

// MaxAttributes is the most attributes that a message may have: raw delivery to SQS drops messages with more.
// https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html
const MaxAttributes = 10
