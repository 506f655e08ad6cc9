// Package stack works with a deployed stack from outside, as people do at a command line: with their own credentials, and
// with no more knowledge of it than its name. What it is made of, the outputs of its template tell.
//
//	s, err := stack.Open(ctx, stack.Config{Name: "flavorless-dev"})
//	err = s.Watch(ctx, events.Filter{}, ready, print) // by a queue of its own
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
)

// Outputs of the template. osls writes the first, resources/ the others.
const (
	outputAPI                = "ServiceEndpoint" // base URL, with the stage's path
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

// Outputs lists the outputs that this package asks of a stack.
func Outputs() []string {
	return []string{
		outputAPI, outputUploadsBucket, outputUpdatesTopic, outputChangesTopic, outputIngestFunction, outputAnnounceFunction,
		outputApplyDead, outputResumeDead, outputUpdatesUndelivered, outputIngestDead, outputAnnounceDead,
	}
}

// Config names a stack. Profile and Region may be empty: then they are what the environment and the shared configuration
// files say, as for every tool of Amazon's.
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
type Config struct{ Name, Profile, Region string }

// Stack is a deployed stack.
type Stack struct {
	name    string
	cfg     aws.Config
	outputs map[string]string
}

// Open looks the stack up. An error says what has to be mended: credentials, region, or the name.
func Open(ctx context.Context, c Config) (*Stack, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile(c.Profile), config.WithRegion(c.Region))
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region is set; say --region, set AWS_REGION, or choose a profile that has one")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("no AWS credentials are found; sign in (aws configure, aws sso login) or choose a profile: %w", err)
	}
	out, err := cloudformation.NewFromConfig(cfg).DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &c.Name})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "ValidationError" || err == nil && len(out.Stacks) != 1 {
		return nil, fmt.Errorf("there is no stack %q in %s; look at the name, the region and the account (stacks are named SERVICE-STAGE, such as flavorless-dev)", c.Name, cfg.Region)
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

// Name is what the stack was opened by.
func (s *Stack) Name() string { return s.name }

// Region is where it lies.
func (s *Stack) Region() string { return s.cfg.Region }

// API gives the base URL of the read API.
func (s *Stack) API() (string, error) {
	url, err := s.output(outputAPI)
	return strings.TrimRight(url, "/"), err
}

// UploadsBucket gives the name of the bucket where files come in.
func (s *Stack) UploadsBucket() (string, error) { return s.output(outputUploadsBucket) }

func (s *Stack) output(name string) (string, error) {
	value := s.outputs[name]
	if value == "" {
		return "", fmt.Errorf("the stack %q has no output %s; is it a stack of flavorless, deployed by this version?", s.name, name)
	}
	return value, nil
}

// S3 is a client of the stack's buckets.
func (s *Stack) S3() *s3.Client {
	return s3.NewFromConfig(s.cfg, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
}

func (s *Stack) sqs() *sqs.Client                 { return sqs.NewFromConfig(s.cfg) }
func (s *Stack) sns() *sns.Client                 { return sns.NewFromConfig(s.cfg) }
func (s *Stack) lambda() *lambda.Client           { return lambda.NewFromConfig(s.cfg) }
func (s *Stack) streams() *dynamodbstreams.Client { return dynamodbstreams.NewFromConfig(s.cfg) }
