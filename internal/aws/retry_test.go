package aws_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	internalaws "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/s3store"
)

// TestTransientErrorsAreRetried checks that each service's client retries the service's codes for transient errors.
func TestTransientErrorsAreRetried(t *testing.T) {
	text := aws.String("x")
	key := map[string]dynamodbtypes.AttributeValue{"id": &dynamodbtypes.AttributeValueMemberS{Value: "x"}}
	entries := []snstypes.PublishBatchRequestEntry{{Id: text, Message: text}}
	for _, test := range []struct {
		service string
		call    func(context.Context, internalaws.Access) error
		refusal func(code string) string
		codes   map[string]int // with their status
	}{
		{"dynamodb", func(ctx context.Context, a internalaws.Access) error {
			_, err := dynamo.Client(a).GetItem(ctx, &dynamodb.GetItemInput{TableName: text, Key: key})
			return err
		}, func(code string) string { return fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s"}`, code) },
			map[string]int{
				"TransactionConflictException": 400, "ReplicatedWriteConflictException": 400, "TransactionInProgressException": 400,
				"ProvisionedThroughputExceededException": 400, "RequestLimitExceeded": 400, "ThrottlingException": 400,
				"InternalServerError": 500,
			}},
		{"sns", func(ctx context.Context, a internalaws.Access) error {
			_, err := topics.Client(a).PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: text,
				PublishBatchRequestEntries: entries})
			return err
		}, func(code string) string {
			return "<ErrorResponse><Error><Code>" + code + "</Code></Error></ErrorResponse>"
		}, map[string]int{
			"Throttled": 429, "ThrottledException": 400, "Throttling": 400, "KMSThrottling": 400, "InternalError": 500,
		}},
		{"sqs", func(ctx context.Context, a internalaws.Access) error {
			_, err := queues.Client(a).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: text, MessageBody: text})
			return err
		}, func(code string) string { return fmt.Sprintf(`{"__type":"com.amazonaws.sqs#%s"}`, code) }, map[string]int{
			"RequestThrottled": 400, "KmsThrottled": 400, "ServiceUnavailable": 503,
		}},
		{"s3", func(ctx context.Context, a internalaws.Access) error {
			_, err := s3store.NewClient(a).DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: text, Key: text})
			return err
		}, func(code string) string { return "<Error><Code>" + code + "</Code></Error>" }, map[string]int{
			"SlowDown": 503, "OperationAborted": 409, "ConditionalRequestConflict": 409, "RequestTimeout": 400,
		}},
	} {
		for code, status := range test.codes {
			t.Run(test.service+"/"+code, func(t *testing.T) {
				t.Parallel()
				calls := 0
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if calls++; calls == 1 {
						w.WriteHeader(status)
						fmt.Fprint(w, test.refusal(code))
						return
					}
					w.WriteHeader(http.StatusTeapot) // not retried
				}))
				t.Cleanup(server.Close)
				access := internalaws.Access{Region: "us-east-1", KeyID: "key", Secret: "secret",
					Endpoint: func(string) string { return server.URL }}
				if err := test.call(t.Context(), access); calls != 2 {
					t.Errorf("%d calls, error %v; want 2 calls", calls, err)
				}
			})
		}
	}
}
