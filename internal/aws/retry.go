package aws

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// transientCodes are error codes of transient errors that the SDK's retryer does not know:
//
//   - DynamoDB refuses a write to an item while a transaction is writing that item.
//     https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling
//   - SNS throttles with status 429 and the code Throttled. The SDK knows only the type name ThrottledException.
//   - SNS and SQS report throttling by KMS, each with its own code.
//   - S3 refuses a request while another request to the same object is in progress.
var transientCodes = []string{
	"TransactionConflictException", "ReplicatedWriteConflictException",
	"Throttled", "KMSThrottling", "KmsThrottled",
	"OperationAborted", "ConditionalRequestConflict",
}

// Retryer returns a retryer that retries transientCodes in addition to what r retries.
func Retryer(r aws.Retryer) aws.Retryer { return retry.AddWithErrorCodes(r, transientCodes...) }
