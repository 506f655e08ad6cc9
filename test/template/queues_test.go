package template_test

import (
	"maps"
	"slices"
)

const (
	aQueue        = "AWS::SQS::Queue"
	aTopic        = "AWS::SNS::Topic"
	aSubscription = "AWS::SNS::Subscription"
	aMapping      = "AWS::Lambda::EventSourceMapping"
	aFunction     = "AWS::Lambda::Function"
	anInvokeConf  = "AWS::Lambda::EventInvokeConfig"
	aPermission   = "AWS::Lambda::Permission"
	aTable        = "AWS::DynamoDB::Table"
)

var queueRules = []rule{
	{"visibility timeouts are long enough", visibilityTimeouts, []mutation{
		{"shorter visibility timeout", set("ApplyQueue", 179.0, "VisibilityTimeout")},
		{"longer function timeout", set("IngestLambdaFunction", 301.0, "Timeout")},
		{"batching window", set(applyMapping, 5.0, "MaximumBatchingWindowInSeconds")},
		{"default visibility timeout", without("ResumeQueue", "VisibilityTimeout")},
	}},
	{"partial failures are reported", partialFailures, []mutation{
		{"queue without ReportBatchItemFailures", without(applyMapping, "FunctionResponseTypes")},
		{"stream without ReportBatchItemFailures", set(announceMapping, []any{}, "FunctionResponseTypes")},
		{"stream without bisecting", set(announceMapping, false, "BisectBatchOnFunctionError")},
	}},
	{"dead-letter queues exist", deadLetterQueues, []mutation{
		{"queue without dead-letter queue", without("ApplyQueue", "RedrivePolicy")},
		{"dead-letter queue removed", remove("ResumeDead")},
		{"subscription without dead-letter queue", without("ApplySubscription", "RedrivePolicy")},
		{"stream without destination", without(announceMapping, "DestinationConfig")},
		{"stream with unlimited retries", without(announceMapping, "MaximumRetryAttempts")},
		{"asynchronous events without destination", remove("IngestLambdaEvConf")},
		{"two receives", set("ApplyQueue", 2.0, "RedrivePolicy/maxReceiveCount")},
	}},
	{"dead-letter queues retain messages and accept their sources", deadLetterStorage, []mutation{
		{"default retention", without("IngestDead", "MessageRetentionPeriod")},
		{"no queue policy", remove("QueuesTakeFromUpdates")},
	}},
	{"subscriptions filter by message type", filters, []mutation{
		{"continuations for apply", set("ApplySubscription", []any{"flavorless.span.v1"}, "FilterPolicy/type")},
		{"no filter", without("ResumeSubscription", "FilterPolicy")},
		{"filter by message body", set("ApplySubscription", "MessageBody", "FilterPolicyScope")},
		{"envelope", without("ApplySubscription", "RawMessageDelivery")},
		{"no subscription of the resume queue", remove("ResumeSubscription")},
	}},
}

// visibilityTimeouts requires what Lambda recommends: six times the function's timeout plus the batching window. With
// less, a message is delivered again while it is being processed.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
func visibilityTimeouts(t *template) (v violations) {
	for _, id := range t.of(aMapping) {
		queue := target(t.get(id, "EventSourceArn"))
		if !t.is(queue, aQueue) {
			continue
		}
		function := target(t.get(id, "FunctionName"))
		has := number(t.get(queue, "VisibilityTimeout"), 30)
		needs := 6*number(t.get(function, "Timeout"), 3) + number(t.get(id, "MaximumBatchingWindowInSeconds"), 0)
		if has < needs {
			v.add("%s: VisibilityTimeout is %v seconds; want at least %v, 6 times the timeout of %s", queue, has, needs,
				function)
		}
	}
	return v
}

// partialFailures requires that one failed message does not return the whole batch to the queue.
func partialFailures(t *template) (v violations) {
	for _, id := range t.of(aMapping) {
		if !slices.Contains(texts(t.get(id, "FunctionResponseTypes")), "ReportBatchItemFailures") {
			v.add("%s: FunctionResponseTypes lacks ReportBatchItemFailures", id)
		}
		if t.is(target(t.get(id, "EventSourceArn")), aTable) && t.get(id, "BisectBatchOnFunctionError") != true {
			v.add("%s: BisectBatchOnFunctionError is not true", id)
		}
	}
	return v
}

// deadLetterQueues requires a dead-letter queue for every queue, stream, subscription and asynchronous invocation.
func deadLetterQueues(t *template) (v violations) {
	_, missing := deadLetters(t)
	return missing
}

// deadLetters returns the dead-letter queues with the topic or queue whose messages they receive, "" for a function,
// and where one is missing.
func deadLetters(t *template) (queues map[string]string, missing violations) {
	queues = map[string]string{}
	check := func(id string, destination any, source string) {
		queue := target(destination)
		if !t.is(queue, aQueue) {
			missing.add("%s: no dead-letter queue", id)
			return
		}
		queues[queue] = source
	}
	for _, id := range t.of(aMapping) {
		source := target(t.get(id, "EventSourceArn"))
		if t.is(source, aQueue) {
			check(source, t.get(source, "RedrivePolicy", "deadLetterTargetArn"), source)
			if n := number(t.get(source, "RedrivePolicy", "maxReceiveCount"), 0); n < 5 {
				missing.add("%s: maxReceiveCount is %v; want at least 5, because throttling alone can use up to five", source, n)
			}
		} else { // a stream
			check(id, t.get(id, "DestinationConfig", "OnFailure", "Destination"), "")
			if number(t.get(id, "MaximumRetryAttempts"), -1) < 0 || number(t.get(id, "MaximumRecordAgeInSeconds"), -1) < 0 {
				missing.add("%s: a bad record is retried until it leaves the stream and never reaches the dead-letter queue; "+
					"set MaximumRetryAttempts and MaximumRecordAgeInSeconds", id)
			}
		}
	}
	for _, id := range t.of(aSubscription) {
		if protocol := t.get(id, "Protocol"); protocol == "sqs" || protocol == "lambda" {
			check(id, t.get(id, "RedrivePolicy", "deadLetterTargetArn"), target(t.get(id, "TopicArn")))
		}
	}
	for function := range invokedAsynchronously(t) {
		configured := false
		for _, id := range t.of(anInvokeConf) {
			if target(t.get(id, "FunctionName")) == function {
				check(id, t.get(id, "DestinationConfig", "OnFailure", "Destination"), "")
				configured = true
			}
		}
		if !configured {
			missing.add("%s: invoked asynchronously without a dead-letter queue", function)
		}
	}
	return queues, missing
}

// invokedAsynchronously returns the functions that services invoke without waiting for the result.
func invokedAsynchronously(t *template) map[string]bool {
	found := map[string]bool{}
	for _, id := range t.of(aPermission) {
		switch t.get(id, "Principal") {
		case "s3.amazonaws.com", "sns.amazonaws.com", "events.amazonaws.com":
			found[target(t.get(id, "FunctionName"))] = true
		}
	}
	return found
}

// deadLetterStorage requires the longest retention, so that operators have time to react, and the permission to send.
func deadLetterStorage(t *template) (v violations) {
	queues, _ := deadLetters(t)
	for _, queue := range slices.Sorted(maps.Keys(queues)) {
		const longest = 14 * 24 * 60 * 60
		if has := number(t.get(queue, "MessageRetentionPeriod"), 4*24*60*60); has < longest {
			v.add("%s: MessageRetentionPeriod is %v seconds; want %v", queue, has, longest)
		}
		if source := queues[queue]; t.is(source, aTopic) && !acceptsFrom(t, queue, source) {
			v.add("%s: no policy allows %s to send to it", queue, source)
		}
	}
	for _, id := range t.of(aSubscription) {
		queue, topic := target(t.get(id, "Endpoint")), target(t.get(id, "TopicArn"))
		if t.get(id, "Protocol") == "sqs" && !acceptsFrom(t, queue, topic) {
			v.add("%s: no policy allows %s to send to it", queue, topic)
		}
	}
	return v
}

// acceptsFrom reports whether a queue's policy allows a topic to send to it.
func acceptsFrom(t *template, queue, topic string) bool {
	for _, id := range t.of("AWS::SQS::QueuePolicy") {
		for _, s := range statements(t.get(id, "PolicyDocument")) {
			if s.allows && slices.Contains(s.actions, "sqs:SendMessage") && slices.Contains(s.services, "sns.amazonaws.com") &&
				mentioned(s.resource)[queue] && mentioned(s.condition)[topic] && mentioned(t.get(id, "Queues"))[queue] {
				return true
			}
		}
	}
	return false
}

// filters requires that each queue receives only its type of message from the updates topic, and without an envelope.
func filters(t *template) (v violations) {
	wanted := map[string]string{"ApplyQueue": "flavorless.updates.v1", "ResumeQueue": "flavorless.span.v1"}
	for _, id := range t.of(aSubscription) {
		queue := target(t.get(id, "Endpoint"))
		if got := texts(t.get(id, "FilterPolicy", "type")); len(got) != 1 || got[0] != wanted[queue] {
			v.add("%s: delivers types %q to %s; want %q", id, got, queue, wanted[queue])
		}
		if scope := t.get(id, "FilterPolicyScope"); scope != "MessageAttributes" {
			v.add("%s: FilterPolicyScope is %v; want MessageAttributes", id, scope)
		}
		if t.get(id, "RawMessageDelivery") != true {
			v.add("%s: RawMessageDelivery is not true", id)
		}
		delete(wanted, queue)
	}
	for _, queue := range slices.Sorted(maps.Keys(wanted)) {
		v.add("%s: no subscription", queue)
	}
	return v
}
