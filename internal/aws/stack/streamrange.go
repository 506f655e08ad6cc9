package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// streamRange is a range of records in a shard of the change stream, as Lambda names the ones that it gave up.
type streamRange struct {
	Stream string    `json:"streamArn"`
	Shard  string    `json:"shardId"`
	Start  string    `json:"startSequenceNumber"` // of the first record
	End    string    `json:"endSequenceNumber"`   // of the last
	Size   int       `json:"batchSize"`           // records
	First  time.Time `json:"approximateArrivalOfFirstRecord"`
}

func (r streamRange) describe() string {
	return fmt.Sprintf("%d changes since %s", r.Size, r.First.UTC().Format(time.DateTime))
}

// Limits of reading a range.
const (
	maxRecords = 500 // in an invocation of announce, as serverless.yml sets it
	maxEmpty   = 20  // pages without records, one after the other, before the range counts as lost
	emptyPause = 100 * time.Millisecond
)

// announceRange reads the records of a range page by page and invokes announce with each page. Records in the range
// that were announced before are announced again, which subscribers have to expect of any change.
func (s *Stack) announceRange(ctx context.Context, r streamRange) error {
	client := s.streams()
	at, err := client.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
		StreamArn: &r.Stream, ShardId: &r.Shard, SequenceNumber: &r.Start,
		ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber,
	})
	if err != nil {
		return explainTrimmed(err)
	}
	for next, empty := at.ShardIterator, 0; ; {
		in := &dynamodbstreams.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(maxRecords)}
		page, err := client.GetRecords(ctx, in)
		if err != nil {
			return explainTrimmed(err)
		}
		var records []json.RawMessage
		done := false
		for _, record := range page.Records {
			number := aws.ToString(record.Dynamodb.SequenceNumber)
			if isLater(number, r.End) {
				return fmt.Errorf("the stream has no record %s", r.End)
			}
			body, err := json.Marshal(asEvent(record, r.Stream))
			if err != nil {
				return err
			}
			records = append(records, body)
			if done = number == r.End; done {
				break
			}
		}
		if len(records) > 0 {
			if err := s.announce(ctx, records); err != nil {
				return err
			}
			empty = 0
		} else {
			empty++
		}
		if done {
			return nil
		}
		if page.NextShardIterator == nil || empty > maxEmpty {
			return fmt.Errorf("the stream has nothing more before record %s", r.End)
		}
		next = page.NextShardIterator
		if empty > 0 { // there may be empty pages between records
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(emptyPause):
			}
		}
	}
}

// explainTrimmed explains the error for a range that is older than the stream.
func explainTrimmed(err error) error {
	var trimmed *types.TrimmedDataAccessException
	var gone *types.ResourceNotFoundException
	if errors.As(err, &trimmed) || errors.As(err, &gone) {
		return fmt.Errorf("the stream keeps records for 24 hours and no longer has these; "+
			"subscribers have to read the whole team again: %w", err)
	}
	return err
}

// isLater reports whether sequence number a comes after b. They are decimal numbers of any length.
func isLater(a, b string) bool { return len(a) > len(b) || len(a) == len(b) && a > b }

// asEvent converts a record of the Streams API to the form in which Lambda passes it to functions.
// https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
func asEvent(r types.Record, stream string) lambdaevents.DynamoDBEventRecord {
	return lambdaevents.DynamoDBEventRecord{
		AWSRegion: aws.ToString(r.AwsRegion), EventID: aws.ToString(r.EventID), EventName: string(r.EventName),
		EventSource:  "aws:dynamodb",
		EventVersion: aws.ToString(r.EventVersion), EventSourceArn: stream,
		Change: lambdaevents.DynamoDBStreamRecord{
			ApproximateCreationDateTime: lambdaevents.SecondsEpochTime{Time: aws.ToTime(r.Dynamodb.ApproximateCreationDateTime)},
			Keys:                        asImage(r.Dynamodb.Keys),
			OldImage:                    asImage(r.Dynamodb.OldImage), NewImage: asImage(r.Dynamodb.NewImage),
			SequenceNumber: aws.ToString(r.Dynamodb.SequenceNumber), SizeBytes: aws.ToInt64(r.Dynamodb.SizeBytes),
			StreamViewType: string(r.Dynamodb.StreamViewType),
		},
	}
}

// asImage converts an item. Favorites have only strings and numbers; other attributes are left out.
func asImage(item map[string]types.AttributeValue) map[string]lambdaevents.DynamoDBAttributeValue {
	if item == nil {
		return nil
	}
	image := make(map[string]lambdaevents.DynamoDBAttributeValue, len(item))
	for name, value := range item {
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			image[name] = lambdaevents.NewStringAttribute(v.Value)
		case *types.AttributeValueMemberN:
			image[name] = lambdaevents.NewNumberAttribute(v.Value)
		}
	}
	return image
}
