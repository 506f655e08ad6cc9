package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Prices of us-east-1 in US dollars, before discounts, as of November 2026. Those of DynamoDB and CloudWatch were
// compared with what third parties write; none was compared with Amazon's own pages. Look there before you rely on a
// price.
const (
	million = 1e6

	priceWrite = 0.625 / million // DynamoDB on demand, write unit: https://aws.amazon.com/dynamodb/pricing/on-demand/
	priceRead  = 0.125 / million // read unit, strongly consistent
	priceTable = 0.25            // GB and month
	pricePITR  = 0.20            // point-in-time recovery, GB and month

	pricePublish = 0.50 / million // SNS, 64 KB; deliveries to SQS are free: https://aws.amazon.com/sns/pricing/
	priceQueue   = 0.40 / million // SQS, request of 64 KB: https://aws.amazon.com/sqs/pricing/

	priceInvoke  = 0.20 / million // Lambda: https://aws.amazon.com/lambda/pricing/
	priceCompute = 0.0000133334   // GB-second, arm64

	pricePut    = 5.00 / million // S3 Standard: https://aws.amazon.com/s3/pricing/
	priceGet    = 0.40 / million
	priceBucket = 0.023 // GB and month

	priceRequest = 3.50 / million // API Gateway REST: https://aws.amazon.com/api-gateway/pricing/
	priceOut     = 0.09           // data out to the internet, GB

	priceAlarm     = 0.10 // a month and metric, 10 are free: https://aws.amazon.com/cloudwatch/pricing/
	priceDashboard = 3.00 // a month, 3 are free
	priceLogs      = 0.50 // GB taken in
)

// Assumptions about what cannot be counted here.
const (
	// vCPUs for each GB of memory: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
	cpuPerGB = 1.0 / 1.769
	// Lambda polls an idle queue this often: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
	pollers = 5

	waiting        = 2  // billed time in multiples of the CPU time, because a function also waits for responses
	pollSeconds    = 20 // duration of a long poll
	monthSeconds   = 730 * 3600
	changesRequest = 10   // changes of about 500 bytes in a publish request
	recordsInvoke  = 500  // stream records in an invocation of announce
	readMillis     = 10.0 // billed time of a read
	authorizations = 0.01 // authorizations per request; the gateway caches them for five minutes
)

// showCost prints what the counted requests and units cost.
func showCost(out io.Writer, loads []load, reads readCounts) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\n%d rows, in $\tDynamoDB writes\treads\tSNS, SQS\tLambda\t"+
		"announcing\tS3\tall\ta million rows\t\n", loads[0].rows)
	for _, l := range loads {
		all := l.all()
		favorites, ledger, reads := l.units()
		writes, read := (favorites+ledger)*priceWrite, reads*priceRead
		// A message is received and deleted in requests of two; received ones are billed by 64 KB.
		messages := float64(all.Calls["PublishBatch"].Billed)*pricePublish + float64(l.messages+l.applies)*priceQueue
		compute := (l.cpu+l.ingestCPU).Seconds()*waiting/cpuPerGB*priceCompute + float64(l.applies+1)*priceInvoke
		invocations := float64(all.Units["favorites"].Streamed) / recordsInvoke
		announce := float64(l.changed)/changesRequest*pricePublish + invocations*(priceInvoke+0.25*0.1*priceCompute)
		// The upload is stored with one request. Starting and ending an upload in parts are billed like PUT.
		puts := float64(1 + all.Calls["PUTObject"].Requests + all.Calls["POSTObject"].Requests)
		gets := float64(all.Calls["GETObject"].Requests + all.Calls["HEADObject"].Requests)
		objects := puts*pricePut + gets*priceGet
		sum := writes + read + messages + compute + announce + objects
		fmt.Fprintf(table, "%s\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.6f\t%.3f\t%.3f\t\n", l.name, writes, read, messages,
			compute, announce, objects, sum, sum*million/float64(l.rows))
	}
	if err := table.Flush(); err != nil {
		return err
	}

	table = tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\na million reads, in $\tAPI Gateway\tLambda\tDynamoDB\tdata out\tall\t\n")
	read := func(name string, units, gb, bytes float64) {
		gateway, dynamo := priceRequest*million, units*priceRead*million
		compute := million * (priceInvoke + gb*readMillis/1000*priceCompute) * (1 + authorizations)
		data := bytes / (1 << 30) * million * priceOut
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", name, gateway, compute, dynamo, data,
			gateway+compute+dynamo+data)
	}
	read("GET /ice-cream/{person}", reads.lookup.Units["favorites"].Read, 0.25, 500)
	read("GET /team, 1,000 people", reads.team.Units["favorites"].Read, 0.5, float64(reads.teamBytes))
	return table.Flush()
}

// countAlarms counts the metrics that alarms watch, which is what they are billed by, in what is deployed.
const countAlarms = `require('./resources/alarms.cjs')({ resolveVariable: async () => 'x' }).then(({ Resources }) => {
  const alarms = Object.values(Resources).filter((r) => r.Type === 'AWS::CloudWatch::Alarm');
  const metrics = ({ Properties: p }) => (p.Metrics ? p.Metrics.filter((m) => m.MetricStat).length : 1);
  console.log(alarms.reduce((sum, a) => sum + metrics(a), 0));
})`

// queues is the number of queues that event source mappings poll: those of updates and of continuations.
const queues = 2

// showIdle prints the cost of a month without uploads and reads.
func showIdle(ctx context.Context, out io.Writer) error {
	counted, err := exec.CommandContext(ctx, "node", "-e", countAlarms).Output()
	if err != nil {
		return fmt.Errorf("counting the alarms (this needs Node.js, and the project's folder): %w", err)
	}
	alarmMetrics, err := strconv.Atoi(strings.TrimSpace(string(counted)))
	if err != nil {
		return fmt.Errorf("counting the alarms: %w", err)
	}
	polls := float64(queues*pollers*monthSeconds) / pollSeconds
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\nan idle month\t\tin $\tbeyond the free tier\t\n")
	for _, line := range []struct {
		name, of    string
		cost, after float64
	}{
		{"alarms", fmt.Sprintf("%d metrics", alarmMetrics), float64(alarmMetrics) * priceAlarm, float64(max(0,
			alarmMetrics-10)) * priceAlarm},
		{"dashboard", "1", priceDashboard, 0},
		{"polling of queues", fmt.Sprintf("%.2f M requests", polls/million), polls * priceQueue, max(0,
			polls-million) * priceQueue},
		{"table, with recovery", "1 GB", priceTable + pricePITR, pricePITR},
		{"bucket", "1 GB", priceBucket, priceBucket},
	} {
		fmt.Fprintf(table, "%s\t%s\t%.2f\t%.2f\t\n", line.name, line.of, line.cost, line.after)
	}
	return table.Flush()
}
