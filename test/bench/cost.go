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

// Prices of us-east-1 in US dollars, before discounts, as known in November 2026. DynamoDB's and CloudWatch's were
// compared with what others write of them, none with Amazon's pages, which stand beside them: look there before you
// rely on it.
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

// What can't be counted here is assumed.
const (
	cpuPerGB       = 1.0 / 1.769 // vCPUs that Lambda gives for a GB of memory: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
	waiting        = 2           // times the CPU time that a function is billed for: it waits for answers as well
	pollers        = 5           // that Lambda has for an idle queue: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
	pollSeconds    = 20          // of each long poll
	monthSeconds   = 730 * 3600
	changesRequest = 10   // in a publish request, which ten of some 500 bytes fill
	recordsInvoke  = 500  // stream records an invocation of announce
	readMillis     = 10.0 // that a reader is billed for
	authorizations = 0.01 // of requests: the gateway keeps an answer for five minutes
)

// showCost multiplies what was counted by what it costs.
func showCost(out io.Writer, loads []load, reads readCounts) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\n%d rows, in $\tDynamoDB writes\treads\tSNS, SQS\tLambda\tannouncing\tS3\tall\ta million rows\t\n", loads[0].rows)
	for _, l := range loads {
		all := l.ingest.Add(l.apply)
		favorites, ledger := all.Units["favorites"], all.Units["uploads"]
		writes := (favorites.Write + ledger.Write + ledger.Index) * priceWrite
		read := (favorites.Read + ledger.Read) * priceRead
		// A message is received and deleted in requests of two; received ones are billed by 64 KB.
		messages := float64(all.Calls["PublishBatch"].Billed)*pricePublish + float64(l.messages+l.applies)*priceQueue
		compute := (l.cpu+l.ingestCPU).Seconds()*waiting/cpuPerGB*priceCompute + float64(l.applies+1)*priceInvoke
		announce := float64(l.flavors)/changesRequest*pricePublish + float64(favorites.Streamed)/recordsInvoke*(priceInvoke+0.25*0.1*priceCompute)
		objects := pricePut + float64(all.Calls["GETObject"].Requests)*priceGet
		sum := writes + read + messages + compute + announce + objects
		fmt.Fprintf(table, "%s\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.6f\t%.3f\t%.3f\t\n", l.name, writes, read, messages, compute, announce, objects, sum, sum*million/float64(l.rows))
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
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", name, gateway, compute, dynamo, data, gateway+compute+dynamo+data)
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

// queues that event source mappings poll: apply's and the one of what is to be resumed.
const queues = 2

// showIdle tells what a month costs in which nothing happens.
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
		{"alarms", fmt.Sprintf("%d metrics", alarmMetrics), float64(alarmMetrics) * priceAlarm, float64(max(0, alarmMetrics-10)) * priceAlarm},
		{"dashboard", "1", priceDashboard, 0},
		{"polling of queues", fmt.Sprintf("%.2f M requests", polls/million), polls * priceQueue, max(0, polls-million) * priceQueue},
		{"table, with recovery", "1 GB", priceTable + pricePITR, pricePITR},
		{"bucket", "1 GB", priceBucket, priceBucket},
	} {
		fmt.Fprintf(table, "%s\t%s\t%.2f\t%.2f\t\n", line.name, line.of, line.cost, line.after)
	}
	return table.Flush()
}
