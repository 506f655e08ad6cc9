package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// maxKeys is the maximum number of keys in a BatchGetItem.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
const maxKeys = 100

var errUnprocessed = errors.New("DynamoDB left keys unprocessed")

// batchGet reads up to maxKeys items with strong consistency, and calls each for those that exist, in any order. It
// reads only the named attributes, or all if there are none.
func (t *Table) batchGet(ctx context.Context, table string, keys []item, each func(item) error,
	attributes ...string) error {
	want := types.KeysAndAttributes{Keys: keys, ConsistentRead: aws.Bool(true)}
	if len(attributes) > 0 {
		want.ExpressionAttributeNames = map[string]string{}
		for _, a := range attributes {
			want.ExpressionAttributeNames["#"+a] = a
		}
		want.ProjectionExpression = aws.String("#" + strings.Join(attributes, ",#"))
	}
	for again := t.backoff(ctx, rowsReserve); len(want.Keys) > 0; {
		request := map[string]types.KeysAndAttributes{table: want}
		out, err := t.cfg.Client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: request}, dontRetryThrottling)
		why := errUnprocessed
		if throttled(err) { // no key was processed
			out, why = &dynamodb.BatchGetItemOutput{UnprocessedKeys: request}, err
		} else if err != nil {
			return fmt.Errorf("reading %d items of %s: %w", len(want.Keys), table, err)
		}
		for _, found := range out.Responses[table] {
			if err := each(found); err != nil {
				return err
			}
		}
		want.Keys = out.UnprocessedKeys[table].Keys
		if n := len(want.Keys); n > 0 {
			if err := again.wait(ctx, n, why); err != nil {
				return fmt.Errorf("reading %d items of %s: %w", n, table, err)
			}
		}
	}
	return nil
}
