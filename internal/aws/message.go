package aws

// MaxAttributes is how many attributes a message may have that goes to SQS as it is: raw delivery drops one with more.
// https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html
const MaxAttributes = 10
