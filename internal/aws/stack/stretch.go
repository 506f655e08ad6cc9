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

// stretch is where the records lie that Lambda gave up.
type stretch struct {
	Stream string    `json:"streamArn"`
	Shard  string    `json:"shardId"`
	Start  string    `json:"startSequenceNumber"` // of the first record
	End    string    `json:"endSequenceNumber"`   // of the last
	Size   int       `json:"batchSize"`           // records
	First  time.Time `json:"approximateArrivalOfFirstRecord"`
}

func (r stretch) about() string {
	return fmt.Sprintf("%d changes since %s", r.Size, r.First.UTC().Format(time.DateTime))
}

// Of one look into a stream.
const (
	mostRecords = 500 // as many as announce is given at a time
	emptyLooks  = 20  // without a record before the stretch counts as gone
	emptyPause  = 100 * time.Millisecond
)

// announceStretch reads the records of a stretch and hands them to announce, page by page. Others that lie between them
// are announced again, too: subscribers take a change for what it is however often it comes.
func (s *Stack) announceStretch(ctx context.Context, r stretch) error {
	client := s.streams()
	at, err := client.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
		StreamArn: &r.Stream, ShardId: &r.Shard, SequenceNumber: &r.Start, ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber,
	})
	if err != nil {
		return forgotten(err)
	}
	for next, empty := at.ShardIterator, 0; ; {
		page, err := client.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(mostRecords)})
		if err != nil {
			return forgotten(err)
		}
		var records []json.RawMessage
		done := false
		for _, record := range page.Records {
			number := aws.ToString(record.Dynamodb.SequenceNumber)
			if later(number, r.End) {
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
			empty = -1
		}
		if done {
			return nil
		}
		if empty++; page.NextShardIterator == nil || empty > emptyLooks {
			return fmt.Errorf("the stream has nothing more before record %s", r.End)
		}
		next = page.NextShardIterator
		if empty > 0 { // pages between records may be empty
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(emptyPause):
			}
		}
	}
}

// forgotten explains the errors of a stretch that is older than the stream remembers.
func forgotten(err error) error {
	var trimmed *types.TrimmedDataAccessException
	var gone *types.ResourceNotFoundException
	if errors.As(err, &trimmed) || errors.As(err, &gone) {
		return fmt.Errorf("the stream keeps 24 hours, and has forgotten these changes: subscribers have to read the team anew (%w)", err)
	}
	return err
}

// later compares sequence numbers, which are decimal and of any length.
func later(a, b string) bool { return len(a) > len(b) || len(a) == len(b) && a > b }

// asEvent gives a record of the Streams API the form that Lambda gives it.
// https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
func asEvent(r types.Record, stream string) lambdaevents.DynamoDBEventRecord {
	record := lambdaevents.DynamoDBEventRecord{
		AWSRegion: aws.ToString(r.AwsRegion), EventID: aws.ToString(r.EventID), EventName: string(r.EventName), EventSource: "aws:dynamodb",
		EventVersion: aws.ToString(r.EventVersion), EventSourceArn: stream,
		Change: lambdaevents.DynamoDBStreamRecord{
			ApproximateCreationDateTime: lambdaevents.SecondsEpochTime{Time: aws.ToTime(r.Dynamodb.ApproximateCreationDateTime)},
			Keys:                        asImage(r.Dynamodb.Keys), OldImage: asImage(r.Dynamodb.OldImage), NewImage: asImage(r.Dynamodb.NewImage),
			SequenceNumber: aws.ToString(r.Dynamodb.SequenceNumber), SizeBytes: aws.ToInt64(r.Dynamodb.SizeBytes),
			StreamViewType: string(r.Dynamodb.StreamViewType),
		},
	}
	return record
}

// asImage takes over the texts and numbers of an item: favorites have nothing else.
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
