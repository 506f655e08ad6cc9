package template_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/flavorless/flavorless/internal/metrics"
)

// measured has our own metrics that are watched, with the one label that each has, if any, and who measures it.
var measured = map[string]struct {
	label     string
	values    []string
	functions []string
}{
	metrics.Rows:           {"outcome", []string{"applied", "superseded", "rejected"}, []string{"apply", "ingest"}},
	metrics.Uploads:        {"status", []string{"live", "failed"}, []string{"apply", "ingest"}},
	metrics.Retries:        {functions: []string{"ingest", "apply", "announce"}},
	metrics.Authorizations: {"result", []string{"allowed", "unauthorized", "forbidden", "unavailable"}, []string{"authorizer"}},
}

// shown is one metric of an alarm or of the dashboard.
type shown struct {
	by, namespace, name string
	dimensions          map[string]string
}

// watched: CloudWatch draws a metric that nobody sends, and never calls about it.
func watched(t *template) (c complaints) {
	name := text(t.get("ApiGatewayRestApi", "Name"))
	stage := text(t.get("ApiStage", "StageName"))
	for _, m := range append(alarmed(t), pictured(t, &c)...) {
		switch m.namespace {
		case metrics.Namespace:
			known, there := measured[m.name]
			want := map[string]string{"function": m.dimensions["function"], "stage": stage}
			if known.label != "" {
				want[known.label] = m.dimensions[known.label]
			}
			if !there || known.label != "" && !slices.Contains(known.values, m.dimensions[known.label]) || !slices.Contains(known.functions, m.dimensions["function"]) ||
				!maps.Equal(want, m.dimensions) {
				c.add("%s: nobody measures %s of %v", m.by, m.name, m.dimensions)
			}
		case "AWS/ApiGateway":
			if want := map[string]string{"ApiName": name, "Stage": stage}; !maps.Equal(want, m.dimensions) {
				c.add("%s: %s of %v; the API is %v", m.by, m.name, m.dimensions, want)
			}
		case "AWS/SQS", "AWS/SNS", "AWS/Lambda", "AWS/DynamoDB":
			for _, value := range m.dimensions {
				if !strings.HasPrefix(value, "${") {
					c.add("%s: %s of %s, which is a name and no resource of the stack", m.by, m.name, value)
				}
			}
		default:
			c.add("%s: a namespace %q", m.by, m.namespace)
		}
	}
	return c
}

func alarmed(t *template) (all []shown) {
	for _, id := range t.of(anAlarm) {
		found := []any{t.get(id)}
		if metrics := list(t.get(id, "Metrics")); len(metrics) > 0 {
			found = nil
			for _, m := range metrics {
				if metric := at(m, "MetricStat", "Metric"); metric != nil {
					found = append(found, metric)
				}
			}
		}
		for _, m := range found {
			dimensions := map[string]string{}
			for _, d := range list(at(m, "Dimensions")) {
				dimensions[text(at(d, "Name"))] = spelled(at(d, "Value"))
			}
			all = append(all, shown{id, text(at(m, "Namespace")), text(at(m, "MetricName")), dimensions})
		}
	}
	return all
}

// pictured gives what the dashboard shows. Its body is JSON with references:
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
func pictured(t *template, c *complaints) (all []shown) {
	var body struct {
		Widgets []struct {
			Properties struct {
				Title   string
				Metrics [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(spelled(t.get("Dashboard", "DashboardBody"))), &body); err != nil || len(body.Widgets) == 0 {
		c.add("Dashboard: shows nothing: %v", err)
		return nil
	}
	for _, widget := range body.Widgets {
		for _, m := range widget.Properties.Metrics {
			words := texts(m)
			if len(words) < 2 { // an expression over others
				continue
			}
			dimensions := map[string]string{}
			for i := 2; i+1 < len(words); i += 2 {
				dimensions[words[i]] = words[i+1]
			}
			all = append(all, shown{"Dashboard: " + widget.Properties.Title, words[0], words[1], dimensions})
		}
	}
	return all
}
