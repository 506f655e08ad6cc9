// The alarms. docs/operations.md describes, by the alarm's name, what to do. Descriptions are in the mail to the
// operator: they say what happened and what to do.
const topicActions = require('./topic-actions.cjs');

const functions = ['ingest', 'apply', 'announce', 'team', 'lookup', 'uploads', 'authorizer'];
// Functions that report failed messages separately. Lambda counts such an invocation as a success, so Errors stays 0.
const reporting = ['ingest', 'apply', 'announce'];
const deadLetterQueues = {
  ApplyDead: 'apply could not write these messages to the table',
  ResumeDead: 'ingest could not continue these files',
  UpdatesUndelivered: 'SNS could not deliver these messages to a queue',
  IngestDead: 'ingest could not process these object events',
  AnnounceDead: 'announce could not publish these changes',
};

const capitalized = (name) => name[0].toUpperCase() + name.slice(1);
const functionName = (name) => ({ Ref: `${capitalized(name)}LambdaFunction` });
const dimensionList = (dimensions) => Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value }));
const queueName = (id) => ({ 'Fn::GetAtt': [id, 'QueueName'] });

module.exports = async ({ resolveVariable }) => {
  const service = await resolveVariable('self:service');
  const stage = await resolveVariable('sls:stage');
  const email = await resolveVariable("param:alarmEmail, ''");

  const alarm = (description, [Namespace, MetricName, dimensions], above, rest = {}) => ({
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      AlarmDescription: `${service} ${stage}: ${description}`,
      Namespace,
      MetricName,
      Dimensions: dimensionList(dimensions),
      Statistic: 'Maximum',
      Period: 60,
      EvaluationPeriods: 1,
      Threshold: above,
      ComparisonOperator: 'GreaterThanThreshold',
      TreatMissingData: 'notBreaching',
      AlarmActions: [{ Ref: 'AlarmTopic' }],
      OKActions: [{ Ref: 'AlarmTopic' }],
      ...rest,
    },
  });
  const sum = { Statistic: 'Sum' };
  const lasting = { EvaluationPeriods: 5, DatapointsToAlarm: 3 }; // minutes
  const repeated = { EvaluationPeriods: 5, DatapointsToAlarm: 2 };

  const alarms = {
    ApplyQueueAgeAlarm: alarm(
      'updates have been waiting for more than 10 minutes; check errors and throttling of apply and of the favorites table',
      ['AWS/SQS', 'ApproximateAgeOfOldestMessage', { QueueName: queueName('ApplyQueue') }], 600, lasting,
    ),
    ResumeQueueAgeAlarm: alarm(
      'a long file has been waiting for more than 1 hour to be continued; check errors and throttling of ingest',
      ['AWS/SQS', 'ApproximateAgeOfOldestMessage', { QueueName: queueName('ResumeQueue') }], 3600, lasting,
    ),
    AnnounceIteratorAgeAlarm: alarm(
      'changes have been waiting for more than 5 minutes; fix announce within 18 hours, then they go to AnnounceDead',
      ['AWS/Lambda', 'IteratorAge', { FunctionName: functionName('announce') }], 300000, lasting,
    ),
    IngestDestinationAlarm: alarm(
      'an object event was lost: ingest failed and the event could not be sent to IngestDead; upload the object again',
      ['AWS/Lambda', 'DestinationDeliveryFailures', { FunctionName: functionName('ingest') }], 0, sum,
    ),
    UpdatesRedriveAlarm: alarm(
      'a message of the updates topic was lost: SNS could deliver it neither to its queue nor to UpdatesUndelivered; upload the file again',
      ['AWS/SNS', 'NumberOfNotificationsFailedToRedriveToDlq', { TopicName: { 'Fn::GetAtt': ['UpdatesTopic', 'TopicName'] } }], 0, sum,
    ),
    Api5xxAlarm: alarm(
      'the API answers requests with status 5xx; check the access log and the logs of the readers and the authorizer',
      ['AWS/ApiGateway', '5XXError', { ApiName: `${service}-${stage}`, Stage: stage }], 0, { ...sum, ...lasting },
    ),
    AuthorizerUnavailableAlarm: alarm(
      "tokens can't be verified because the issuer's keys are unavailable, so readers get 503; check the URL in the parameter jwksUri",
      ['flavorless', 'authorizations', { function: 'authorizer', stage, result: 'unavailable' }], 0, { ...sum, ...lasting },
    ),
    // The function that performs the last step of an upload counts it.
    UploadsFailedAlarm: {
      Type: 'AWS::CloudWatch::Alarm',
      Properties: {
        AlarmDescription: `${service} ${stage}: an upload failed; GET /uploads lists it with the reason`,
        Metrics: [
          { Id: 'failed', Expression: 'SUM(METRICS())', ReturnData: true },
          ...['ingest', 'apply'].map((name) => ({
            Id: name,
            ReturnData: false,
            MetricStat: {
              Metric: { Namespace: 'flavorless', MetricName: 'uploads', Dimensions: dimensionList({ function: name, stage, status: 'failed' }) },
              Period: 60,
              Stat: 'Sum',
            },
          })),
        ],
        EvaluationPeriods: 1,
        Threshold: 0,
        ComparisonOperator: 'GreaterThanThreshold',
        TreatMissingData: 'notBreaching',
        AlarmActions: [{ Ref: 'AlarmTopic' }],
      },
    },
  };
  for (const name of reporting) {
    // One retry is normal, two within five minutes are not. The resume queue would deliver the second after half an
    // hour. test/template computes that each of these alarms reports a failing function within ten minutes.
    alarms[`${capitalized(name)}RetriesAlarm`] = alarm(
      `${name} failed to process messages, which will be retried; check its log for the error`,
      ['flavorless', 'retries', { function: name, stage }], 0, { ...sum, ...(name !== 'ingest' && repeated) },
    );
  }
  for (const [id, description] of Object.entries(deadLetterQueues)) {
    alarms[`${id}Alarm`] = alarm(
      `dead letters in ${id}: ${description}; fix the cause, then run: flavorless redrive --stack ${service}-${stage}`,
      ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', { QueueName: queueName(id) }], 0,
    );
  }
  for (const name of functions) {
    const dimensions = { FunctionName: functionName(name) };
    // An authorizer refuses a token by failing with "Unauthorized", so only many errors matter. If it fails otherwise,
    // the API answers 503, which Api5xxAlarm reports.
    const [description, above] = name === 'authorizer'
      ? ['the authorizer refused more than 500 tokens in 5 minutes; check for an attack or for clients with old tokens', 500]
      : [`invocations of ${name} failed; check its log for the error`, 0];
    alarms[`${capitalized(name)}ErrorsAlarm`] = alarm(description, ['AWS/Lambda', 'Errors', dimensions], above, { ...sum, Period: 300 });
    alarms[`${capitalized(name)}ThrottlesAlarm`] = alarm(
      `invocations of ${name} are throttled; raise its reserved concurrency or the account's quota`,
      ['AWS/Lambda', 'Throttles', dimensions], 0, { ...sum, ...lasting },
    );
  }

  return {
    Resources: {
      // Not encrypted, because CloudWatch can't use alias/aws/sns. Alarms contain no favorites.
      AlarmTopic: {
        Type: 'AWS::SNS::Topic',
        Properties: {
          TopicName: `${service}-${stage}-alarms`,
          ...(email && { Subscription: [{ Protocol: 'email', Endpoint: email }] }),
        },
      },
      AlarmTopicPolicy: {
        Type: 'AWS::SNS::TopicPolicy',
        Properties: {
          Topics: [{ Ref: 'AlarmTopic' }],
          PolicyDocument: {
            Version: '2012-10-17',
            Statement: [
              {
                Sid: 'Alarms',
                Effect: 'Allow',
                Principal: { Service: 'cloudwatch.amazonaws.com' },
                Action: 'sns:Publish',
                Resource: { Ref: 'AlarmTopic' },
                Condition: { ArnLike: { 'aws:SourceArn': { 'Fn::Sub': 'arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*' } } },
              },
              {
                Sid: 'TlsOnly',
                Effect: 'Deny',
                Principal: '*',
                Action: topicActions,
                Resource: { Ref: 'AlarmTopic' },
                Condition: { Bool: { 'aws:SecureTransport': 'false' } },
              },
            ],
          },
        },
      },
      ...alarms,
    },
    Outputs: { AlarmTopicArn: { Description: 'Subscribe to this topic to receive alarms', Value: { Ref: 'AlarmTopic' } } },
  };
};
