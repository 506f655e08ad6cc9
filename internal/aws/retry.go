package aws

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// transientCodes are codes of errors that pass, and that the SDK's retryer does not know.
//
//   - DynamoDB refuses a plain write to an item while a transaction holds that item.
//     https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling
//   - SNS throttles with status 429 and the code Throttled. The SDK knows only ThrottledException, which is the name of the type.
//   - SNS and SQS report that KMS throttles them, each with a code of its own.
//   - S3 refuses a request while another one to the same object is under way.
var transientCodes = []string{
	"TransactionConflictException", "ReplicatedWriteConflictException",
	"Throttled", "KMSThrottling", "KmsThrottled",
	"OperationAborted", "ConditionalRequestConflict",
}

// Retryer returns a retryer that also retries the transient errors that r does not know.
func Retryer(r aws.Retryer) aws.Retryer { return retry.AddWithErrorCodes(r, transientCodes...) }
