// Package stack operates a deployed stack from a command line, with the user's own credentials. It needs only the name
// of the stack and finds its resources by the outputs of the template.
//
//	s, err := stack.Open(ctx, stack.Config{Name: "flavorless-dev"})
//	err = s.Watch(ctx, events.Filter{}, ready, print) // through a temporary queue
//	result, err := s.Redrive(ctx, "apply-dead", progress)
package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/flavorless/flavorless/internal/operator"
)

// Outputs of the template. osls adds the first one; the others are in resources/.
const (
	outputAPI                = "ServiceEndpoint" // base URL including the path of the stage
	outputUploadsBucket      = "UploadsBucketName"
	outputUpdatesTopic       = "UpdatesTopicArn"
	outputChangesTopic       = "ChangesTopicArn"
	outputIngestFunction     = "IngestFunctionName"
	outputAnnounceFunction   = "AnnounceFunctionName"
	outputApplyDead          = "ApplyDeadUrl"
	outputResumeDead         = "ResumeDeadUrl"
	outputUpdatesUndelivered = "UpdatesUndeliveredUrl"
	outputIngestDead         = "IngestDeadUrl"
	outputAnnounceDead       = "AnnounceDeadUrl"
)

// Outputs returns the names of the outputs that this package needs.
func Outputs() []string {
	return []string{
		outputAPI, outputUploadsBucket, outputUpdatesTopic, outputChangesTopic, outputIngestFunction, outputAnnounceFunction,
		outputApplyDead, outputResumeDead, outputUpdatesUndelivered, outputIngestDead, outputAnnounceDead,
	}
}

// Config names a stack. Profile and Region may be empty; they then come from the environment and the shared
// configuration files, as for every AWS tool.
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
type Config struct{ Name, Profile, Region string }

// Stack is a deployed stack. It implements [operator.DeadLetters].
type Stack struct {
	name    string
	cfg     aws.Config
	outputs map[string]string
}

// Open looks the stack up. Its errors say what the user must fix: the credentials, the region, or the name.
func Open(ctx context.Context, c Config) (*Stack, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile(c.Profile), config.WithRegion(c.Region))
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region is set; use --region, set AWS_REGION, or choose a profile that has one")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("finding AWS credentials; sign in (aws configure, aws sso login) or choose a profile: %w", err)
	}
	client := cloudformation.NewFromConfig(cfg)
	out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &c.Name})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "ValidationError" || err == nil && len(out.Stacks) != 1 {
		return nil, fmt.Errorf("there is no stack %q in %s; check the name, the region and the account "+
			"(stacks are named SERVICE-STAGE, such as flavorless-dev)", c.Name, cfg.Region)
	}
	if err != nil {
		return nil, fmt.Errorf("looking up the stack %q: %w", c.Name, err)
	}
	s := &Stack{name: c.Name, cfg: cfg, outputs: map[string]string{}}
	for _, o := range out.Stacks[0].Outputs {
		s.outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	return s, nil
}

// Name returns the name of the stack.
func (s *Stack) Name() string { return s.name }

// Region returns the AWS region of the stack.
func (s *Stack) Region() string { return s.cfg.Region }

// API returns the base URL of the read API.
func (s *Stack) API() (string, error) {
	url, err := s.output(outputAPI)
	return strings.TrimRight(url, "/"), err
}

// UploadsBucket returns the name of the bucket for uploads.
func (s *Stack) UploadsBucket() (string, error) { return s.output(outputUploadsBucket) }

func (s *Stack) output(name string) (string, error) {
	value := s.outputs[name]
	if value == "" {
		return "", fmt.Errorf("the stack %q has no output %s; check that this version of flavorless deployed it",
			s.name, name)
	}
	return value, nil
}

// S3 returns a client of the stack's buckets.
func (s *Stack) S3() *s3.Client {
	return s3.NewFromConfig(s.cfg, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
}

var _ operator.DeadLetters = (*Stack)(nil)

func (s *Stack) sqs() *sqs.Client                 { return sqs.NewFromConfig(s.cfg) }
func (s *Stack) sns() *sns.Client                 { return sns.NewFromConfig(s.cfg) }
func (s *Stack) lambda() *lambda.Client           { return lambda.NewFromConfig(s.cfg) }
func (s *Stack) streams() *dynamodbstreams.Client { return dynamodbstreams.NewFromConfig(s.cfg) }
