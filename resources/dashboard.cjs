// The dashboard: problems in the first row, and in each row the stages of the pipeline from left to right.
module.exports = async ({ resolveVariable }) => {
  const service = await resolveVariable('self:service');
  const stage = await resolveVariable('sls:stage');

  const queue = (id) => ['QueueName', `\${${id}.QueueName}`];
  const lambda = (name) => ['FunctionName', `\${${name}LambdaFunction}`];
  const topic = (id) => ['TopicName', `\${${id}.TopicName}`];
  const table = (id) => ['TableName', `\${${id}}`];
  const api = ['ApiName', `${service}-${stage}`, 'Stage', stage];
  const ours = (name, label, value) => ['function', name, 'stage', stage, label, value];
  const as = (label, stat = 'Sum', rest = {}) => ({ label, stat, ...rest });

  const rows = [
    [
      ['Dead letters (should be 0)', [
        ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', ...queue('IngestDead'), as('object events', 'Maximum')],
        ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', ...queue('ResumeDead'), as('continuations', 'Maximum')],
        ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', ...queue('UpdatesUndelivered'), as('undelivered', 'Maximum')],
        ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', ...queue('ApplyDead'), as('updates', 'Maximum')],
        ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', ...queue('AnnounceDead'), as('changes', 'Maximum')],
      ]],
      ['Delay (seconds)', [
        ['AWS/SQS', 'ApproximateAgeOfOldestMessage', ...queue('ApplyQueue'), as('apply', 'Maximum')],
        ['AWS/SQS', 'ApproximateAgeOfOldestMessage', ...queue('ResumeQueue'), as('resume', 'Maximum')],
        [{ expression: 'age / 1000', label: 'announce' }],
        ['AWS/Lambda', 'IteratorAge', ...lambda('Announce'), as('announce, ms', 'Maximum', { id: 'age', visible: false })],
      ]],
      ['Function errors and retries', [
        ...['ingest', 'apply', 'announce'].map((name) => ['flavorless', 'retries', 'function', name, 'stage', stage, as(`${name}: retries`)]),
        ...['Ingest', 'Apply', 'Announce', 'Team', 'Lookup', 'Uploads'].map((name) => ['AWS/Lambda', 'Errors', ...lambda(name), as(name.toLowerCase())]),
      ]],
    ],
    [
      ['Uploads', [
        ...['live', 'failed'].flatMap((status) => [
          [{ expression: `SUM([${status}1, ${status}2])`, label: status }], // the function of the last step counts it
          ['flavorless', 'uploads', ...ours('apply', 'status', status), as(status, 'Sum', { id: `${status}1`, visible: false })],
          ['flavorless', 'uploads', ...ours('ingest', 'status', status), as(status, 'Sum', { id: `${status}2`, visible: false })],
        ]),
        ['AWS/Lambda', 'Invocations', ...lambda('Ingest'), as('invocations of ingest')],
      ]],
      ['Rows', [
        ['flavorless', 'rows', ...ours('apply', 'outcome', 'applied'), as('applied')],
        ['flavorless', 'rows', ...ours('apply', 'outcome', 'unchanged'), as('unchanged')],
        ['flavorless', 'rows', ...ours('apply', 'outcome', 'superseded'), as('superseded')],
        ['flavorless', 'rows', ...ours('ingest', 'outcome', 'superseded'), as('superseded by later rows of the file')],
        ['flavorless', 'rows', ...ours('ingest', 'outcome', 'rejected'), as('rejected')],
      ]],
      ['Messages', [
        ['AWS/SNS', 'NumberOfMessagesPublished', ...topic('UpdatesTopic'), as('updates published')],
        ['AWS/SQS', 'NumberOfMessagesDeleted', ...queue('ApplyQueue'), as('updates applied')],
        ['AWS/SNS', 'NumberOfMessagesPublished', ...topic('ChangesTopic'), as('changes announced')],
        ['AWS/SNS', 'NumberOfNotificationsFailed', ...topic('ChangesTopic'), as('changes undelivered')],
      ]],
    ],
    [
      ['Table', [
        ['AWS/DynamoDB', 'ConsumedWriteCapacityUnits', ...table('FavoritesTable'), as('write units')],
        ['AWS/DynamoDB', 'ConsumedReadCapacityUnits', ...table('FavoritesTable'), as('read units')],
        ['AWS/DynamoDB', 'WriteThrottleEvents', ...table('FavoritesTable'), as('writes throttled')],
      ]],
      ['Duration (ms)', [
        ['AWS/Lambda', 'Duration', ...lambda('Ingest'), as('ingest maximum', 'Maximum')],
        ['AWS/Lambda', 'Duration', ...lambda('Apply'), as('apply p90', 'p90')],
        ['AWS/Lambda', 'Duration', ...lambda('Announce'), as('announce p90', 'p90')],
      ]],
      ['Concurrency', ['Ingest', 'Apply', 'Announce'].map((name) => ['AWS/Lambda', 'ConcurrentExecutions', ...lambda(name), as(name.toLowerCase(), 'Maximum')])],
    ],
    [
      ['Requests', [
        ['AWS/ApiGateway', 'Count', ...api, as('all')],
        ['AWS/ApiGateway', '4XXError', ...api, as('4xx')],
        ['AWS/ApiGateway', '5XXError', ...api, as('5xx')],
      ]],
      ['Latency (ms)', [
        ['AWS/ApiGateway', 'Latency', ...api, as('p50', 'p50')],
        ['AWS/ApiGateway', 'Latency', ...api, as('p99', 'p99')],
      ]],
      ['Tokens', [
        ...['allowed', 'unauthorized', 'forbidden', 'unavailable'].map((result) => ['flavorless', 'authorizations', ...ours('authorizer', 'result', result), as(result)]),
      ]],
    ],
  ];
  const widgets = rows.flatMap((row, y) =>
    row.map(([title, metrics], x) => ({
      type: 'metric',
      x: x * 8, y: y * 6, width: 8, height: 6,
      properties: { title, metrics, region: '${AWS::Region}', period: 60, view: 'timeSeries', yAxis: { left: { min: 0 } } },
    })),
  );
  return {
    Resources: {
      Dashboard: {
        Type: 'AWS::CloudWatch::Dashboard',
        Properties: { DashboardName: `${service}-${stage}`, DashboardBody: { 'Fn::Sub': JSON.stringify({ widgets }) } },
      },
    },
    Outputs: { DashboardUrl: { Value: { 'Fn::Sub': `https://\${AWS::Region}.console.aws.amazon.com/cloudwatch/home?region=\${AWS::Region}#dashboards/dashboard/${service}-${stage}` } } },
  };
};
