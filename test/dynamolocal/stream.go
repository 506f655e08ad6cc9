package dynamolocal

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// Stream reads the stream of the favorites table from its beginning.
type Stream struct {
	client  *dynamodb.Client
	streams *dynamodbstreams.Client
	table   string
	arn     string
	next    map[string]*string // iterators by shard; nil if the shard is closed
	marks   int
	early   []streamtypes.StreamRecord // records after the last mark that were read with it
}

// NewStream opens the stream of a favorites table.
func NewStream(endpoint, favorites string) *Stream {
	return &Stream{
		client: dynamodb.New(Options(endpoint)), table: favorites, next: map[string]*string{},
		streams: dynamodbstreams.New(dynamodbstreams.Options{
			Region: "us-east-1", BaseEndpoint: aws.String(endpoint),
			Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		}),
	}
}

// mark is the person of the items that mark a position in the stream. Their shard is none of the table.
const mark = "\x00mark"

// Drain returns the records of all completed writes since the last call. It writes an item of its own and reads until
// that item is in the stream, because DynamoDB Local keeps the order of all writes.
func (s *Stream) Drain(ctx context.Context) ([]streamtypes.StreamRecord, error) {
	s.marks++
	version := strconv.Itoa(s.marks)
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.table, Item: map[string]types.AttributeValue{
		"shard": &types.AttributeValueMemberN{Value: "-1"}, "person": &types.AttributeValueMemberS{Value: mark},
		"version": &types.AttributeValueMemberS{Value: version},
	}})
	if err != nil {
		return nil, fmt.Errorf("marking the end of the stream: %w", err)
	}
	var records []streamtypes.StreamRecord
	for {
		got, err := s.read(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the stream of %s: %w", s.table, err)
		}
		got, s.early = append(s.early, got...), nil
		for i, r := range got {
			person, _ := r.Keys["person"].(*streamtypes.AttributeValueMemberS)
			if person == nil || person.Value != mark {
				records = append(records, r)
				continue
			}
			if v, _ := r.NewImage["version"].(*streamtypes.AttributeValueMemberS); v != nil && v.Value == version {
				s.early = got[i+1:]
				return records, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the end of the stream: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// read returns the records that the shards have now.
func (s *Stream) read(ctx context.Context) ([]streamtypes.StreamRecord, error) {
	if s.arn == "" {
		table, err := s.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.table})
		if err != nil {
			return nil, err
		}
		s.arn = aws.ToString(table.Table.LatestStreamArn)
	}
	stream, err := s.streams.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: &s.arn})
	if err != nil {
		return nil, err
	}
	var records []streamtypes.StreamRecord
	for _, shard := range stream.StreamDescription.Shards {
		id := aws.ToString(shard.ShardId)
		if _, known := s.next[id]; !known {
			it, err := s.streams.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
				StreamArn: &s.arn, ShardId: &id, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
			})
			if err != nil {
				return nil, err
			}
			s.next[id] = it.ShardIterator
		}
		if s.next[id] == nil {
			continue
		}
		out, err := s.streams.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: s.next[id]})
		if err != nil {
			return nil, err
		}
		s.next[id] = out.NextShardIterator
		for _, r := range out.Records {
			records = append(records, *r.Dynamodb)
		}
	}
	return records, nil
}
