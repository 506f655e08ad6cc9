package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// s3 returns a client of the bucket.
func (c *connection) s3() *s3.Client {
	if c.stack != nil {
		return c.stack.S3()
	}
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(c.info.S3), Region: c.info.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(c.info.AccessKey, c.info.SecretKey, ""),
	})
}

// After Ctrl-C, parts that are being sent have partGrace to arrive, and the requests that abort the upload have
// abortTimeout.
const (
	partGrace    = 5 * time.Second
	abortTimeout = 10 * time.Second
)

// put uploads a file, in parts if it is large, and returns its ETag. When ctx ends, it removes the parts that it sent.
func (f *uploadFlags) put(ctx context.Context, t *terminal, conn *connection, src source) (etag string, err error) {
	in, size, err := src.open(ctx, t.in)
	if err != nil {
		return "", &fileError{code: exitUsage, err: err}
	}
	defer in.Close()
	bar := t.bar(size, src.String())
	defer bar.Finish()        //nolint:errcheck // a progress bar that stays is harmless
	log.SetOutput(io.Discard) // the transfer manager prints errors there, which it also returns
	client := &partsClient{Client: conn.s3()}
	input := &transfermanager.UploadObjectInput{
		Bucket: aws.String(conn.info.Bucket), Key: aws.String(src.key), Body: in, Metadata: f.meta,
	}
	out, err := transfermanager.New(client, func(o *transfermanager.Options) {
		o.Concurrency = 2
		o.FailTimeout = abortTimeout
		o.ObjectProgressListeners.Register(progress(func(n int64) { _ = bar.Set64(n) }))
	}).UploadObject(ctx, input)
	if err != nil {
		return "", f.putError(ctx, conn, src, client, err)
	}
	return strings.Trim(aws.ToString(out.ETag), `"`), nil
}

// partsClient is an S3 client for the transfer manager. When the context ends, it first finishes the requests that are
// in progress, because a part that arrives after the upload was aborted may stay in the bucket.
type partsClient struct {
	*s3.Client
	began    bool  // whether a multipart upload was created
	abortErr error // from the latest try to remove the parts
}

func (c *partsClient) CreateMultipartUpload(
	ctx context.Context, in *s3.CreateMultipartUploadInput, opts ...func(*s3.Options),
) (*s3.CreateMultipartUploadOutput, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	c.began = true
	return c.Client.CreateMultipartUpload(ctx, in, opts...)
}

func (c *partsClient) CompleteMultipartUpload(
	ctx context.Context, in *s3.CompleteMultipartUploadInput, opts ...func(*s3.Options),
) (*s3.CompleteMultipartUploadOutput, error) {
	if ctx.Err() != nil { // the file may be incomplete: Ctrl-C also ends the program that writes to standard input
		return nil, ctx.Err()
	}
	return c.Client.CompleteMultipartUpload(context.WithoutCancel(ctx), in, opts...)
}

func (c *partsClient) UploadPart(
	ctx context.Context, in *s3.UploadPartInput, opts ...func(*s3.Options),
) (*s3.UploadPartOutput, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	finishing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(partGrace, cancel) })()
	return c.Client.UploadPart(finishing, in, opts...)
}

// AbortMultipartUpload repeats the request while parts are left, as the S3 API reference requires.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
func (c *partsClient) AbortMultipartUpload(
	ctx context.Context, in *s3.AbortMultipartUploadInput, opts ...func(*s3.Options),
) (out *s3.AbortMultipartUploadOutput, err error) {
	defer func() { c.abortErr = err }()
	for range 3 {
		out, err = c.Client.AbortMultipartUpload(ctx, in, opts...)
		if gone := (*types.NoSuchUpload)(nil); errors.As(err, &gone) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		parts := &s3.ListPartsInput{Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId}
		if _, gone := c.ListParts(ctx, parts); gone != nil {
			break
		}
	}
	return out, nil
}

// fileError is the error of one file. Other files can still be uploaded.
type fileError struct {
	code    int
	pending bool // whether the file is uploaded, but was not followed until it is live
	err     error
}

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// putError returns the error of an upload without the SDK's request ids and names of operations.
func (f *uploadFlags) putError(ctx context.Context, c *connection, src source, client *partsClient, err error) error {
	var (
		network *net.OpError
		reply   *smithyhttp.ResponseError
		api     smithy.APIError
	)
	switch {
	case timedOut(ctx):
		return &fileError{code: exitFailed, err: fmt.Errorf("uploading %s: it did not finish within %s; %s",
			src, f.timeout, c.remains(client))}
	case ctx.Err() != nil:
		return fmt.Errorf("stopped while %s was being uploaded; %s", src, c.remains(client))
	case errors.As(err, &reply) && errors.As(err, &api):
		status := reply.HTTPStatusCode()
		reason := asClause(api.ErrorMessage())
		if reason == "" || api.ErrorMessage() == "UnknownError" { // the SDK's text for an answer without a message
			reason = fmt.Sprintf("the bucket answers %d %s", status, http.StatusText(status))
		}
		switch {
		case status == http.StatusInsufficientStorage: // the reason says what to do
			return &fileError{code: exitFailed, err: fmt.Errorf("uploading %s: %s", src, reason)}
		case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
			return &fileError{code: exitFailed, err: fmt.Errorf("uploading %s: %s; try again later", src, reason)}
		case api.ErrorCode() == "EntityTooLarge":
			reason = "the file is larger than the bucket allows; split it"
			if c.stack == nil {
				reason += ", or start the server with a larger --max-upload-size"
			}
		}
		return &fileError{code: exitUsage, err: fmt.Errorf("uploading %s as %q: %s", src, src.key, reason)}
	case errors.As(err, &network):
		return c.unreachable(cmp.Or(c.info.S3, "S3"), network)
	}
	return &fileError{code: exitFailed, err: fmt.Errorf("uploading %s: %w", src, rootCause(err))}
}

// remains says what a stopped upload leaves in the bucket.
func (c *connection) remains(client *partsClient) string {
	switch {
	case client.abortErr != nil:
		return fmt.Sprintf("its parts could not be removed (%v), so the bucket removes them later",
			rootCause(client.abortErr))
	case client.began:
		return "the parts that were sent are removed"
	}
	return "to see whether it arrived: " + c.seeUpload("")
}

// asClause returns a message of S3, such as "Access Denied.", in a form that can follow a colon.
func asClause(text string) string {
	parts := strings.Split(strings.TrimSuffix(strings.TrimSpace(text), "."), ". ")
	for i, part := range parts {
		words := strings.Fields(part)
		title := !slices.ContainsFunc(words, func(word string) bool { return !unicode.IsUpper(firstRune(word)) })
		switch {
		case title && len(words) > 1:
			parts[i] = strings.ToLower(part)
		case len(words) > 0 && strings.ToUpper(words[0]) != words[0]: // not an abbreviation
			first, n := utf8.DecodeRuneInString(part)
			parts[i] = string(unicode.ToLower(first)) + part[n:]
		}
	}
	return strings.Join(parts, "; ")
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// rootCause returns the innermost error. The errors of the SDK around it only name operations, requests and attempts.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// progress is a listener that is called with the number of bytes sent so far.
type progress func(n int64)

// OnObjectBytesTransferred implements transfermanager.ObjectBytesTransferredListener.
func (p progress) OnObjectBytesTransferred(_ context.Context, e *transfermanager.ObjectBytesTransferredEvent) {
	p(e.BytesTransferred)
}
