// Package shell is what every Lambda function has around its handler: configuration that is checked once, logs with the
// request's id, metrics that are written before the function is frozen, and an end to work before the platform's.
package shell

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/metrics"
)

// Main builds the function's handler and serves with it until the platform ends the process. If it can't be built, one
// line in the log says why, and the platform reports that the function does not start.
func Main(build func(*config.Env) (lambda.Handler, error)) {
	handler, err := build(config.FromEnv(os.LookupEnv))
	if err != nil {
		NewLogger(os.Stdout, slog.LevelInfo).Error("the function can't start", "error", err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

// Tools are what a handler works with besides its adapters.
type Tools struct {
	Log     *slog.Logger
	Metrics *metrics.EMF
}

// NewTools writes logs and metrics to standard output, where the platform collects both.
func NewTools(f config.Function) Tools {
	return Tools{Log: NewLogger(os.Stdout, f.Level), Metrics: metrics.NewEMF(os.Stdout, f.Name, f.Stage, time.Now)}
}

// margin is how long before the platform kills the function its work is stopped: enough to say what is not done. Killed,
// it could say nothing, and all of the batch would come again.
const margin = 500 * time.Millisecond

// Handler makes a handler of f, which takes and gives what JSON encodes.
func Handler[In, Out any](tools Tools, f func(context.Context, In) (Out, error)) lambda.Handler {
	return handler{tools, lambda.NewHandler(f)}
}

type handler struct {
	Tools
	next lambda.Handler
}

// Invoke implements lambda.Handler.
func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-margin))
		defer cancel()
	}
	defer func() {
		if err := h.Metrics.Flush(); err != nil {
			h.Log.WarnContext(ctx, "metrics not written", "error", err)
		}
	}()
	return h.next.Invoke(ctx, payload)
}

// NewLogger writes JSON lines as Lambda's own loggers do, so that one query finds both.
// https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
func NewLogger(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(withRequest{slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: lambdacontext.ReplaceAttr})})
}

// withRequest adds the id of the request that a line belongs to. (The library has the same, but takes level and format
// from variables that it reads before main.)
type withRequest struct{ slog.Handler }

// Handle implements slog.Handler.
func (h withRequest) Handle(ctx context.Context, r slog.Record) error {
	if request, ok := lambdacontext.FromContext(ctx); ok {
		r.AddAttrs(slog.String("requestId", request.AwsRequestID))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h withRequest) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withRequest{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h withRequest) WithGroup(name string) slog.Handler {
	return withRequest{h.Handler.WithGroup(name)}
}
