package cloud

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
)

// mapping is AWS::Lambda::EventSourceMapping.
type mapping struct {
	FunctionName, EventSourceARN, StartingPosition string
	BatchSize, MaximumBatchingWindowInSeconds      int
	Enabled                                        bool
	FunctionResponseTypes                          []string
	ScalingConfig                                  struct{ MaximumConcurrency int }
	BisectBatchOnFunctionError                     bool
	MaximumRetryAttempts                           *int // nil: no limit
	MaximumRecordAgeInSeconds                      int  // longer than any test
	ParallelizationFactor                          int
	DestinationConfig                              destinationConfig
	Tags                                           any

	function *Function
	caller   Caller // Lambda reads event sources by the function's role
}

func createMapping(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	m := mapping{Enabled: true}
	if err := convert(p, &m); err != nil {
		return created{}, err
	}
	var err error
	if m.function, err = s.functionByARN(m.FunctionName); err != nil {
		return created{}, err
	}
	m.caller = Caller{Endpoint: s.Proxy.URL, Key: m.function.Key}
	s.mappings = append(s.mappings, m)
	return created{ref: id}, nil
}

func (s *Stack) startMapping(ctx context.Context, m mapping) error {
	if !m.Enabled {
		return nil
	}
	// Lambda checks these permissions of the role before it creates a mapping. Most of the actions are also called.
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html, services-dynamodb-eventsourcemapping.html
	start, actions := s.startQueue, []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
	if strings.Contains(m.EventSourceARN, ":dynamodb:") {
		start, actions = s.startStream, []string{
			"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams",
		}
	}
	for _, action := range actions {
		if err := s.Proxy.require(m.function.Key, Permission{action, m.EventSourceARN}); err != nil {
			return err
		}
	}
	return start(ctx, m)
}

// failures returns the ids of the items of a batch that failed. all is true if the invocation failed, or if its answer
// is invalid or has an empty id. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
func (m mapping) failures(done Invocation) (ids []string, all bool) {
	if done.Failed != "" {
		return nil, true
	}
	if !slices.Contains(m.FunctionResponseTypes, "ReportBatchItemFailures") {
		return nil, false
	}
	var answer struct { // null and {} mean success
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if err := json.Unmarshal(done.Answer, &answer); err != nil {
		return nil, true
	}
	for _, f := range answer.BatchItemFailures {
		if f.ItemIdentifier == "" {
			return nil, true
		}
		ids = append(ids, f.ItemIdentifier)
	}
	return ids, false
}
