// When to call someone. What to do then stands in docs/operations.md, by the alarm's name.
const functions = ['ingest', 'apply', 'announce', 'team', 'lookup', 'uploads', 'authorizer'];
// Functions that report failures item by item. Lambda counts such an invocation as a success, so Errors says nothing of it.
const reporting = ['ingest', 'apply', 'announce'];
const queuesOfTheDead = ['ApplyDead', 'ResumeDead', 'UpdatesUndelivered', 'IngestDead', 'AnnounceDead'];

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
    ApplyQueueAgeAlarm: alarm('updates wait for more than ten minutes to be applied', ['AWS/SQS', 'ApproximateAgeOfOldestMessage', { QueueName: queueName('ApplyQueue') }], 600, lasting),
    ResumeQueueAgeAlarm: alarm('a long file waits for more than an hour to be read on', ['AWS/SQS', 'ApproximateAgeOfOldestMessage', { QueueName: queueName('ResumeQueue') }], 3600, lasting),
    AnnounceIteratorAgeAlarm: alarm('changes wait for more than five minutes to be announced; after 18 hours they are put aside', ['AWS/Lambda', 'IteratorAge', { FunctionName: functionName('announce') }], 300000, lasting),
    IngestDestinationAlarm: alarm('an object event could be neither handled nor put aside: it is lost unless the object is uploaded again', ['AWS/Lambda', 'DestinationDeliveryFailures', { FunctionName: functionName('ingest') }], 0, sum),
    UpdatesRedriveAlarm: alarm('a message could be neither delivered nor put aside', ['AWS/SNS', 'NumberOfNotificationsFailedToRedriveToDlq', { TopicName: { 'Fn::GetAtt': ['UpdatesTopic', 'TopicName'] } }], 0, sum),
    Api5xxAlarm: alarm('the API fails', ['AWS/ApiGateway', '5XXError', { ApiName: `${service}-${stage}`, Stage: stage }], 0, { ...sum, ...lasting }),
    AuthorizerUnavailableAlarm: alarm("tokens can't be checked: the issuer's keys can't be had", ['flavorless', 'authorizations', { function: 'authorizer', stage, result: 'unavailable' }], 0, { ...sum, ...lasting }),
    // Whoever does the last step of an upload reports it.
    UploadsFailedAlarm: {
      Type: 'AWS::CloudWatch::Alarm',
      Properties: {
        AlarmDescription: `${service} ${stage}: an upload failed: GET /uploads tells which and why`,
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
    // One delivery that comes again is no news, two within five minutes are. Of the resume queue the second would come after half an
    // hour. test/template computes that each of these goes off within ten minutes.
    alarms[`${capitalized(name)}RetriesAlarm`] = alarm(`${name} fails with some of what it is given, which comes again`, ['flavorless', 'retries', { function: name, stage }], 0, {
      ...sum,
      ...(name !== 'ingest' && repeated),
    });
  }
  for (const id of queuesOfTheDead) {
    alarms[`${id}Alarm`] = alarm(`something waits in ${id}`, ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', { QueueName: queueName(id) }], 0);
  }
  for (const name of functions) {
    const dimensions = { FunctionName: functionName(name) };
    // To refuse a token, an authorizer has to fail with "Unauthorized". Many of those are news, a few are not; where it truly
    // fails, the API answers 503: Api5xxAlarm.
    const [description, above] = name === 'authorizer' ? ['many tokens are refused', 500] : [`${name} fails`, 0];
    alarms[`${capitalized(name)}ErrorsAlarm`] = alarm(description, ['AWS/Lambda', 'Errors', dimensions], above, { ...sum, Period: 300 });
    alarms[`${capitalized(name)}ThrottlesAlarm`] = alarm(`${name} is throttled`, ['AWS/Lambda', 'Throttles', dimensions], 0, { ...sum, ...lasting });
  }

  return {
    Resources: {
      // Not encrypted: CloudWatch can't use alias/aws/sns, and alarms tell no one's favorite.
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
                // A topic policy takes no sns:*. These are the actions of the policy that SNS gives a new topic.
                Action: [
                  'sns:AddPermission', 'sns:DeleteTopic', 'sns:GetTopicAttributes', 'sns:ListSubscriptionsByTopic', 'sns:Publish',
                  'sns:RemovePermission', 'sns:SetTopicAttributes', 'sns:Subscribe',
                ],
                Resource: { Ref: 'AlarmTopic' },
                Condition: { Bool: { 'aws:SecureTransport': 'false' } },
              },
            ],
          },
        },
      },
      ...alarms,
    },
    Outputs: { AlarmTopicArn: { Description: 'Subscribe here to be called', Value: { Ref: 'AlarmTopic' } } },
  };
};
