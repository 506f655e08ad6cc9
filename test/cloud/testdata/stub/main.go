// The stub is a small function that uses Lambda's library for Go. Its event says what it should do.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// Numbers of this process: invocations, and milliseconds that the background goroutine ran.
var calls, ticks int

func main() {
	if os.Getenv("FAIL_INIT") != "" {
		fmt.Println("I fail to start")
		os.Exit(3)
	}
	go func() { // to see whether it is stopped between events
		for {
			time.Sleep(time.Millisecond)
			ticks++
		}
	}()
	lambda.Start(handle)
}

func handle(ctx context.Context, event struct {
	Do   string
	File string
}) (any, error) {
	calls++
	deadline, _ := ctx.Deadline()
	lc, _ := lambdacontext.FromContext(ctx)
	fmt.Println("doing", event.Do)
	switch event.Do {
	case "fail":
		return nil, errors.New("as you like")
	case "panic":
		panic("as you like")
	case "exit":
		os.Exit(7)
	case "hang":
		time.Sleep(time.Hour)
	case "fail once": // per file
		if _, err := os.Stat(event.File); err != nil {
			if err := os.WriteFile(event.File, nil, 0o600); err != nil {
				return nil, err
			}
			return nil, errors.New("once")
		}
	case "wait":
		time.Sleep(100 * time.Millisecond)
	}
	return map[string]any{
		"calls": calls, "ticks": ticks, "left": time.Until(deadline).Milliseconds(), "id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn,
		"name": os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), "own": os.Getenv("OWN"), "home": os.Getenv("HOME"), "event": json.RawMessage(`"` + event.Do + `"`),
	}, nil
}
