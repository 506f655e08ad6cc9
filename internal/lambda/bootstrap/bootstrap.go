// Package bootstrap starts a Lambda function: it reads and checks the configuration, and wraps the function's handler
// so that log lines have the request's id, metrics are written before the function is frozen, and work ends before the
// platform kills the process.
package bootstrap

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

// Main reads the settings of the function called name, builds its handler, and serves invocations until the platform
// ends the process. If the handler can't be built, Main logs why on one line and exits with 1.
func Main[Settings any](
	name string, read func(*config.Env) Settings, build func(Tools, Settings) (lambda.Handler, error),
) {
	env := config.FromEnv(os.LookupEnv)
	function, settings := env.Function(name), read(env)
	tools := Tools{
		Log:     newLogger(os.Stdout, function.Level),
		Metrics: metrics.NewEMF(os.Stdout, function.Name, function.Stage, time.Now),
	}
	err := env.Err()
	var handler lambda.Handler
	if err == nil {
		handler, err = build(tools, settings)
	}
	if err != nil {
		tools.Log.Error("function can't start", "error", err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

// Tools are what every handler needs besides its adapters.
type Tools struct {
	Log     *slog.Logger
	Metrics *metrics.EMF
}

// margin is how long before the platform's deadline the context of an invocation ends. The handler uses it to report
// what is unfinished. If the platform killed it first, the whole batch would be redelivered.
const margin = 500 * time.Millisecond

// Handler returns a Lambda handler that calls f. In and Out are encoded as JSON.
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

// newLogger returns a logger that writes the same JSON as Lambda's own loggers, so that one query finds both.
// https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
func newLogger(out io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: lambdacontext.ReplaceAttr}
	return slog.New(withRequest{slog.NewJSONHandler(out, options)})
}

// withRequest adds the id of the request that is being handled to each line. The handler of lambdacontext does the
// same, but reads its level and format from environment variables before main.
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
