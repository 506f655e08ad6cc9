package template_test

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/flavorless/flavorless/internal/metrics"
)

const (
	aQueue        = "AWS::SQS::Queue"
	aTopic        = "AWS::SNS::Topic"
	aSubscription = "AWS::SNS::Subscription"
	aMapping      = "AWS::Lambda::EventSourceMapping"
	aFunction     = "AWS::Lambda::Function"
	anInvokeConf  = "AWS::Lambda::EventInvokeConfig"
	aPermission   = "AWS::Lambda::Permission"
	anAlarm       = "AWS::CloudWatch::Alarm"
	aTable        = "AWS::DynamoDB::Table"
)

// visibilityTimeouts: Lambda advises six times the function's timeout, and the batching window on top; less, and a message
// comes again while it is being worked on.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
func visibilityTimeouts(t *template) (c complaints) {
	for _, id := range t.of(aMapping) {
		queue := target(t.get(id, "EventSourceArn"))
		if !t.is(queue, aQueue) {
			continue
		}
		function := target(t.get(id, "FunctionName"))
		has := number(t.get(queue, "VisibilityTimeout"), 30)
		needs := 6*number(t.get(function, "Timeout"), 3) + number(t.get(id, "MaximumBatchingWindowInSeconds"), 0)
		if has < needs {
			c.add("%s: a visibility timeout of %v seconds, less than the %v that %s needs", queue, has, needs, function)
		}
	}
	return c
}

// partialFailures: without it, one bad message brings back the good ones with it.
func partialFailures(t *template) (c complaints) {
	for _, id := range t.of(aMapping) {
		if !slices.Contains(texts(t.get(id, "FunctionResponseTypes")), "ReportBatchItemFailures") {
			c.add("%s: no ReportBatchItemFailures", id)
		}
		if t.is(target(t.get(id, "EventSourceArn")), aTable) && t.get(id, "BisectBatchOnFunctionError") != true {
			c.add("%s: one bad record takes its whole batch along; no BisectBatchOnFunctionError", id)
		}
	}
	return c
}

// deadLetterQueues: at every hop, what can't be handled has to go where it waits for people.
func deadLetterQueues(t *template) (c complaints) {
	_, missing := deadLetters(t)
	return missing
}

// deadLetters gives the dead-letter queues of all hops with the source of what comes there, and the hops that lack one.
func deadLetters(t *template) (queues map[string]string, missing complaints) {
	queues = map[string]string{}
	hop := func(id string, destination any, source string) {
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
			hop(source, t.get(source, "RedrivePolicy", "deadLetterTargetArn"), source)
			if n := number(t.get(source, "RedrivePolicy", "maxReceiveCount"), 0); n < 5 {
				missing.add("%s: gives up after %v tries; a throttled function alone takes five", source, n)
			}
		} else { // a stream
			hop(id, t.get(id, "DestinationConfig", "OnFailure", "Destination"), "")
			if attempts, age := number(t.get(id, "MaximumRetryAttempts"), -1), number(t.get(id, "MaximumRecordAgeInSeconds"), -1); attempts < 0 || age < 0 {
				missing.add("%s: a bad record is tried again until the stream forgets it; it never gets to the dead letters", id)
			}
		}
	}
	for _, id := range t.of(aSubscription) {
		if protocol := t.get(id, "Protocol"); protocol == "sqs" || protocol == "lambda" {
			hop(id, t.get(id, "RedrivePolicy", "deadLetterTargetArn"), target(t.get(id, "TopicArn")))
		}
	}
	for function := range invokedAsynchronously(t) {
		configured := false
		for _, id := range t.of(anInvokeConf) {
			if target(t.get(id, "FunctionName")) == function {
				hop(id, t.get(id, "DestinationConfig", "OnFailure", "Destination"), "")
				configured = true
			}
		}
		if !configured {
			missing.add("%s: invoked asynchronously, and no dead-letter queue", function)
		}
	}
	return queues, missing
}

// invokedAsynchronously gives the functions that services invoke without waiting for an answer.
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

// deadLetterStorage: time for people to come back from a holiday, and the permission without which nothing arrives.
func deadLetterStorage(t *template) (c complaints) {
	queues, _ := deadLetters(t)
	for _, queue := range slices.Sorted(maps.Keys(queues)) {
		const most = 14 * 24 * 60 * 60
		if has := number(t.get(queue, "MessageRetentionPeriod"), 4*24*60*60); has < most {
			c.add("%s: forgets dead letters after %v seconds; %v are possible", queue, has, most)
		}
		if source := queues[queue]; t.is(source, aTopic) && !takesFrom(t, queue, source) {
			c.add("%s: %s may not send to it", queue, source)
		}
	}
	for _, id := range t.of(aSubscription) {
		if queue, topic := target(t.get(id, "Endpoint")), target(t.get(id, "TopicArn")); t.get(id, "Protocol") == "sqs" && !takesFrom(t, queue, topic) {
			c.add("%s: %s may not send to it", queue, topic)
		}
	}
	return c
}

// takesFrom tells whether a queue's policy lets a topic send to it.
func takesFrom(t *template, queue, topic string) bool {
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

// filters: the updates topic carries two types of messages, and each queue gets its own: raw, as the functions read them.
func filters(t *template) (c complaints) {
	wanted := map[string]string{"ApplyQueue": "flavorless.updates.v1", "ResumeQueue": "flavorless.span.v1"}
	for _, id := range t.of(aSubscription) {
		queue := target(t.get(id, "Endpoint"))
		if got := texts(t.get(id, "FilterPolicy", "type")); len(got) != 1 || got[0] != wanted[queue] {
			c.add("%s: brings types %q to %s; want %q", id, got, queue, wanted[queue])
		}
		if scope := t.get(id, "FilterPolicyScope"); scope != "MessageAttributes" {
			c.add("%s: filters by %v; the types are in the message attributes", id, scope)
		}
		if t.get(id, "RawMessageDelivery") != true {
			c.add("%s: messages come wrapped, without RawMessageDelivery", id)
		}
		delete(wanted, queue)
	}
	for _, queue := range slices.Sorted(maps.Keys(wanted)) {
		c.add("%s: nothing subscribes it", queue)
	}
	return c
}

// alarms: whatever waits for people calls them, and so does what makes data late or readers unhappy.
func alarms(t *template) (c complaints) {
	want := func(id, metric, what string) {
		for _, a := range t.of(anAlarm) {
			if measures(t, a, metric, id) {
				return
			}
		}
		c.add("%s: no alarm on %s (%s)", id, what, metric)
	}
	queues, _ := deadLetters(t)
	for _, queue := range slices.Sorted(maps.Keys(queues)) {
		want(queue, "AWS/SQS ApproximateNumberOfMessagesVisible", "dead letters")
	}
	for _, id := range t.of(aMapping) {
		if source := target(t.get(id, "EventSourceArn")); t.is(source, aQueue) {
			want(source, "AWS/SQS ApproximateAgeOfOldestMessage", "falling behind")
		} else {
			want(target(t.get(id, "FunctionName")), "AWS/Lambda IteratorAge", "falling behind")
		}
	}
	for _, function := range t.of(aFunction) {
		want(function, "AWS/Lambda Errors", "errors")
		want(function, "AWS/Lambda Throttles", "throttles")
	}
	for function := range invokedAsynchronously(t) {
		want(function, "AWS/Lambda DestinationDeliveryFailures", "dead letters that get lost")
	}
	want("", "AWS/ApiGateway 5XXError", "a failing API")
	want("", "flavorless uploads", "failed uploads")
	want("", "flavorless authorizations", "keys that can't be had")
	return c
}

// Times that the template does not state, in seconds.
const (
	noticed   = 10 * 60 // within this someone has to be called when a function fails with all that it is given
	evaluated = 60      // from the end of a period until CloudWatch has the metric and evaluates the alarm
	// held is how long a stream may hold back a batch that failed. It is not documented.
	held = 60
)

// failures: Lambda takes an invocation that reports its failures for a success. Errors stays 0, and a message that was received
// three times is left out of its queue's age. So the function itself counts what comes again, and an alarm on that has to go off in
// time even if there is a single message.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
func failures(t *template) (c complaints) {
	watched := alarmed(t)
	for _, id := range t.of(aMapping) {
		if !slices.Contains(texts(t.get(id, "FunctionResponseTypes")), "ReportBatchItemFailures") {
			continue // then an error of the function is all that there is
		}
		function := target(t.get(id, "FunctionName"))
		// A delivery takes up to timeout to fail, and comes again interval after the one before.
		timeout := number(t.get(function, "Timeout"), 3)
		interval := timeout + held
		if queue := target(t.get(id, "EventSourceArn")); t.is(queue, aQueue) {
			interval = number(t.get(queue, "VisibilityTimeout"), 30)
		}
		soonest := math.Inf(1)
		name := strings.ToLower(strings.TrimSuffix(function, "LambdaFunction"))
		for _, m := range watched {
			if m.namespace == metrics.Namespace && m.name == metrics.Retries && m.dimensions["function"] == name {
				soonest = min(soonest, goesOff(t, m.by, timeout, interval))
			}
		}
		if soonest > noticed {
			c.add("%s: when it fails with all that %s brings, someone is called after %v seconds; want %d at most", function, id, soonest, noticed)
		}
	}
	return c
}

// goesOff returns how many seconds after the first delivery an alarm goes off that counts one failure every interval seconds;
// infinity if it never does.
func goesOff(t *template, alarm string, timeout, interval float64) float64 {
	period, periods := number(t.get(alarm, "Period"), 0), number(t.get(alarm, "EvaluationPeriods"), 0)
	points := number(t.get(alarm, "DatapointsToAlarm"), periods)
	above := number(t.get(alarm, "Threshold"), math.Inf(1))
	if t.get(alarm, "Statistic") != "Sum" || t.get(alarm, "ComparisonOperator") != "GreaterThanThreshold" || period == 0 {
		return math.Inf(1)
	}
	// In each period that counts there must be more failures than the threshold. If they come less often than periods, there is one.
	needed := math.Floor(above) + 1
	if needed > 1 && needed > math.Floor(period/interval) {
		return math.Inf(1)
	}
	// From the first to the last of the periods that count. One delivery may fail at once, and the next one take its whole time.
	span := (points - 1) * max(interval, period)
	if points > 1 {
		span += timeout
	}
	if span > (periods-1)*period {
		return math.Inf(1)
	}
	return timeout + span + period + evaluated
}

// measures tells whether an alarm is on a metric ("<namespace> <name>") of the resource of that id, or of any if it is "".
func measures(t *template, alarm, metric, id string) bool {
	namespace, name, _ := strings.Cut(metric, " ")
	metrics := []any{t.get(alarm)}
	for _, m := range list(t.get(alarm, "Metrics")) {
		metrics = append(metrics, at(m, "MetricStat", "Metric"))
	}
	for _, m := range metrics {
		if at(m, "Namespace") == namespace && at(m, "MetricName") == name && (id == "" || mentioned(at(m, "Dimensions"))[id]) {
			return true
		}
	}
	return false
}

// alarmActions: an alarm that calls nobody is a picture. And one about dead letters goes off at the first.
func alarmActions(t *template) (c complaints) {
	for _, id := range t.of(anAlarm) {
		topic := ""
		for _, action := range list(t.get(id, "AlarmActions")) {
			topic = target(action)
		}
		if !t.is(topic, aTopic) {
			c.add("%s: calls nobody", id)
		}
		if t.get(id, "TreatMissingData") != "notBreaching" {
			c.add("%s: goes off when there is nothing to measure", id)
		}
		if t.get(id, "MetricName") == "ApproximateNumberOfMessagesVisible" && (number(t.get(id, "Threshold"), -1) != 0 || t.get(id, "ComparisonOperator") != "GreaterThanThreshold") {
			c.add("%s: does not go off at the first dead letter", id)
		}
	}
	return c
}
