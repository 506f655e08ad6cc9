package template_test

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/flavorless/flavorless/internal/metrics"
)

const anAlarm = "AWS::CloudWatch::Alarm"

var alarmRules = []rule{
	{"every failure has an alarm", alarms, []mutation{
		{"dead-letter queue", remove("AnnounceDeadAlarm")},
		{"another queue", set("ApplyDeadAlarm", getAtt("ResumeDead", "QueueName"), "Dimensions/0/Value")},
		{"age of a queue", remove("ApplyQueueAgeAlarm")},
		{"age of the stream", remove("AnnounceIteratorAgeAlarm")},
		{"errors", remove("TeamErrorsAlarm")},
		{"throttling", remove("ApplyThrottlesAlarm")},
		{"lost events", remove("IngestDestinationAlarm")},
		{"API errors", remove("Api5xxAlarm")},
		{"failed uploads", remove("UploadsFailedAlarm")},
		{"unavailable keys", remove("AuthorizerUnavailableAlarm")},
	}},
	{"alarms notify someone", alarmActions, []mutation{
		{"no action", without("ApplyDeadAlarm", "AlarmActions")},
		{"no topic", remove("AlarmTopic")},
		{"breaching without data", set("ApplyErrorsAlarm", "breaching", "TreatMissingData")},
		{"tenth dead letter", set("ApplyDeadAlarm", 9.0, "Threshold")},
	}},
	{"failing functions are noticed within ten minutes", failures, []mutation{
		{"no alarm on retries of a queue", remove("ApplyRetriesAlarm")},
		{"no alarm on retries of a stream", remove("AnnounceRetriesAlarm")},
		{"no alarm on retries of the resume queue", remove("IngestRetriesAlarm")},
		{"another function", replace("ApplyRetriesAlarm", `"apply"`, `"ingest"`)},
		{"another metric", set("ApplyRetriesAlarm", "dead_letters", "MetricName")},
		{"tenth failure in a minute", set("ApplyRetriesAlarm", 9.0, "Threshold")},
		{"average", set("AnnounceRetriesAlarm", "Average", "Statistic")},
		{"longer period", set("ApplyRetriesAlarm", 300.0, "Period")},
		{"failures in five of five minutes", set("ApplyRetriesAlarm", 5.0, "DatapointsToAlarm")},
		{"longer visibility timeout", set("ApplyQueue", 360.0, "VisibilityTimeout")},
		{"two failures half an hour apart", set("IngestRetriesAlarm", 2.0, "EvaluationPeriods")},
		{"longer function timeout", set("IngestLambdaFunction", 600.0, "Timeout")},
	}},
	{"watched metrics exist", watched, []mutation{
		{"alarm with an unknown result", replace("AuthorizerUnavailableAlarm", "unavailable", "unreachable")},
		{"alarm on an unknown metric", replace("UploadsFailedAlarm", `"uploads"`, `"upload"`)},
		{"widget with an unknown outcome", replace("Dashboard", "superseded", "superceded")},
		{"widget with another stage", replace("Dashboard", `\"stage\",\"test\"`, `\"stage\",\"prod\"`)},
		{"another API", replace("Api5xxAlarm", "flavorless-test", "test-flavorless")},
	}},
}

// alarms requires an alarm about everything that needs an operator: dead letters, delayed data and failing functions.
func alarms(t *template) (v violations) {
	all := alarmMetrics(t)
	want := func(id, namespace, name, reason string) {
		if !slices.ContainsFunc(all, func(m metric) bool {
			return m.namespace == namespace && m.name == name && (id == "" || m.resources[id])
		}) {
			v.add("%s: no alarm on %s %s (%s)", id, namespace, name, reason)
		}
	}
	queues, _ := deadLetters(t)
	for _, queue := range slices.Sorted(maps.Keys(queues)) {
		want(queue, "AWS/SQS", "ApproximateNumberOfMessagesVisible", "dead letters")
	}
	for _, id := range t.of(aMapping) {
		if source := target(t.get(id, "EventSourceArn")); t.is(source, aQueue) {
			want(source, "AWS/SQS", "ApproximateAgeOfOldestMessage", "delayed messages")
		} else {
			want(target(t.get(id, "FunctionName")), "AWS/Lambda", "IteratorAge", "delayed changes")
		}
	}
	for _, function := range t.of(aFunction) {
		want(function, "AWS/Lambda", "Errors", "errors")
		want(function, "AWS/Lambda", "Throttles", "throttling")
	}
	for function := range invokedAsynchronously(t) {
		want(function, "AWS/Lambda", "DestinationDeliveryFailures", "lost events")
	}
	want("", "AWS/ApiGateway", "5XXError", "failing requests")
	want("", metrics.Namespace, metrics.Uploads, "failed uploads")
	want("", metrics.Namespace, metrics.Authorizations, "unavailable keys")
	return v
}

// alarmActions requires that alarms notify a topic, and that alarms about dead letters react to the first one.
func alarmActions(t *template) (v violations) {
	for _, id := range t.of(anAlarm) {
		topic := ""
		for _, action := range list(t.get(id, "AlarmActions")) {
			topic = target(action)
		}
		if !t.is(topic, aTopic) {
			v.add("%s: AlarmActions has no topic", id)
		}
		if t.get(id, "TreatMissingData") != "notBreaching" {
			v.add("%s: TreatMissingData is not notBreaching", id)
		}
		if t.get(id, "MetricName") == "ApproximateNumberOfMessagesVisible" &&
			(number(t.get(id, "Threshold"), -1) != 0 || t.get(id, "ComparisonOperator") != "GreaterThanThreshold") {
			v.add("%s: the first dead letter does not trigger it", id)
		}
	}
	return v
}

// Times that the template does not state, in seconds.
const (
	noticeTime     = 10 * 60 // within which an alarm must report that a function fails with every delivery
	evaluationTime = 60      // from the end of a period until CloudWatch has the metric and evaluates the alarm
	streamBackoff  = 60      // how long a stream may delay a batch that failed; not documented
)

// failures requires an alarm that notices a failing function soon, even if there is only one message. Lambda counts an
// invocation that reports its failures as a success: Errors stays 0, and a message that was received three times is
// left out of its queue's age. So the function itself counts deliveries that will be retried.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
func failures(t *template) (v violations) {
	watched := alarmMetrics(t)
	for _, id := range t.of(aMapping) {
		if !slices.Contains(texts(t.get(id, "FunctionResponseTypes")), "ReportBatchItemFailures") {
			continue // then failures are errors of the function
		}
		function := target(t.get(id, "FunctionName"))
		// A delivery takes up to timeout to fail, and is repeated interval after the one before.
		timeout := number(t.get(function, "Timeout"), 3)
		interval := timeout + streamBackoff
		if queue := target(t.get(id, "EventSourceArn")); t.is(queue, aQueue) {
			interval = number(t.get(queue, "VisibilityTimeout"), 30)
		}
		soonest := math.Inf(1)
		name := strings.ToLower(strings.TrimSuffix(function, "LambdaFunction"))
		for _, m := range watched {
			if m.namespace == metrics.Namespace && m.name == metrics.Retries && m.dimensions["function"] == name {
				soonest = min(soonest, alarmTime(t, m.usedBy, timeout, interval))
			}
		}
		if soonest > noticeTime {
			v.add("%s: an alarm reports that it fails with all of %s after %v seconds; want at most %d", function, id, soonest,
				noticeTime)
		}
	}
	return v
}

// alarmTime returns how many seconds after the first delivery an alarm reports one failure every interval seconds, or
// infinity if it never does.
func alarmTime(t *template, alarm string, timeout, interval float64) float64 {
	period, periods := number(t.get(alarm, "Period"), 0), number(t.get(alarm, "EvaluationPeriods"), 0)
	points := number(t.get(alarm, "DatapointsToAlarm"), periods)
	threshold := number(t.get(alarm, "Threshold"), math.Inf(1))
	if t.get(alarm, "Statistic") != "Sum" || t.get(alarm, "ComparisonOperator") != "GreaterThanThreshold" || period == 0 {
		return math.Inf(1)
	}
	// Each breaching period needs more failures than the threshold. If failures are rarer than periods, a period has one
	// at most.
	needed := math.Floor(threshold) + 1
	if needed > 1 && needed > math.Floor(period/interval) {
		return math.Inf(1)
	}
	// From the first to the last breaching period. One delivery may fail at once, and the next one after its whole
	// timeout.
	span := (points - 1) * max(interval, period)
	if points > 1 {
		span += timeout
	}
	if span > (periods-1)*period {
		return math.Inf(1)
	}
	return timeout + span + period + evaluationTime
}

// emitted lists this program's metrics that alarms and the dashboard use, with the one label of each, if any, and the
// functions that emit it.
var emitted = map[string]struct {
	label     string
	values    []string
	functions []string
}{
	metrics.Rows:    {"outcome", []string{"applied", "unchanged", "superseded", "rejected"}, []string{"apply", "ingest"}},
	metrics.Uploads: {"status", []string{"live", "failed"}, []string{"apply", "ingest"}},
	metrics.Retries: {functions: []string{"ingest", "apply", "announce"}},
	metrics.Authorizations: {"result", []string{"allowed", "unauthorized", "forbidden", "unavailable"},
		[]string{"authorizer"}},
}

// watched requires that alarms and the dashboard use metrics that exist: CloudWatch accepts any name and never reports
// a mistake.
func watched(t *template) (v violations) {
	name := text(t.get("ApiGatewayRestApi", "Name"))
	stage := text(t.get("ApiStage", "StageName"))
	for _, m := range append(alarmMetrics(t), dashboardMetrics(t, &v)...) {
		switch m.namespace {
		case metrics.Namespace:
			known, exists := emitted[m.name]
			want := map[string]string{"function": m.dimensions["function"], "stage": stage}
			if known.label != "" {
				want[known.label] = m.dimensions[known.label]
			}
			if !exists || known.label != "" && !slices.Contains(known.values, m.dimensions[known.label]) ||
				!slices.Contains(known.functions, m.dimensions["function"]) || !maps.Equal(want, m.dimensions) {
				v.add("%s: no function emits %s with %v", m.usedBy, m.name, m.dimensions)
			}
		case "AWS/ApiGateway":
			if want := map[string]string{"ApiName": name, "Stage": stage}; !maps.Equal(want, m.dimensions) {
				v.add("%s: %s has dimensions %v; want %v", m.usedBy, m.name, m.dimensions, want)
			}
		case "AWS/SQS", "AWS/SNS", "AWS/Lambda", "AWS/DynamoDB":
			for _, value := range m.dimensions {
				if !strings.HasPrefix(value, "${") {
					v.add("%s: %s of %s; want a reference to a resource of the stack", m.usedBy, m.name, value)
				}
			}
		default:
			v.add("%s: unknown namespace %q", m.usedBy, m.namespace)
		}
	}
	return v
}

// metric is a metric that an alarm or a widget of the dashboard uses.
type metric struct {
	usedBy, namespace, name string
	dimensions              map[string]string
	resources               map[string]bool // that the dimensions mention
}

func alarmMetrics(t *template) (all []metric) {
	for _, id := range t.of(anAlarm) {
		found := []any{t.get(id)}
		if expressions := list(t.get(id, "Metrics")); len(expressions) > 0 {
			found = nil
			for _, m := range expressions {
				if stat := at(m, "MetricStat", "Metric"); stat != nil {
					found = append(found, stat)
				}
			}
		}
		for _, m := range found {
			dimensions := map[string]string{}
			for _, d := range list(at(m, "Dimensions")) {
				dimensions[text(at(d, "Name"))] = spelled(at(d, "Value"))
			}
			all = append(all, metric{id, text(at(m, "Namespace")), text(at(m, "MetricName")), dimensions,
				mentioned(at(m, "Dimensions"))})
		}
	}
	return all
}

// dashboardMetrics returns the metrics of the dashboard. Its body is JSON with references:
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
func dashboardMetrics(t *template, v *violations) (all []metric) {
	var body struct {
		Widgets []struct {
			Properties struct {
				Title   string
				Metrics [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(spelled(t.get("Dashboard", "DashboardBody"))), &body); err != nil ||
		len(body.Widgets) == 0 {
		v.add("Dashboard: %d widgets, error %v", len(body.Widgets), err)
		return nil
	}
	for _, widget := range body.Widgets {
		for _, m := range widget.Properties.Metrics {
			words := texts(m)
			if len(words) < 2 { // an expression over other metrics
				continue
			}
			dimensions := map[string]string{}
			for i := 2; i+1 < len(words); i += 2 {
				dimensions[words[i]] = words[i+1]
			}
			all = append(all, metric{"Dashboard: " + widget.Properties.Title, words[0], words[1], dimensions, nil})
		}
	}
	return all
}
