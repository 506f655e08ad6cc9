// Who may subscribe to the changes topic, and how. The policy is JavaScript because it lists endpoints for each account of
// subscriberAccounts.
//
// Principals of the stack's own account need no Allow here, only a policy of their own. The Deny statements are what limits them.

// The ways to subscribe that docs/operations.md describes. Over http, names would cross the network unencrypted.
const protocols = ['email', 'https', 'lambda', 'sqs'];

// The actions of the policy that SNS gives a new topic. A topic policy takes no sns:*.
const topicActions = [
  'sns:AddPermission', 'sns:DeleteTopic', 'sns:GetTopicAttributes', 'sns:ListSubscriptionsByTopic', 'sns:Publish',
  'sns:RemovePermission', 'sns:SetTopicAttributes', 'sns:Subscribe',
];

module.exports = async ({ resolveVariable }) => {
  const accounts = [].concat(await resolveVariable('param:subscriberAccounts'));
  const own = { Ref: 'AWS::AccountId' };
  const isOwn = (account) => account.Ref === own.Ref;
  // `flavorless watch --stack` subscribes a queue of the stack's account, so that account is always among the owners.
  const owners = [own, ...accounts.filter((account) => !isOwn(account))];
  const endpoints = owners.flatMap((account) =>
    ['sqs:*:${account}:*', 'lambda:*:${account}:function:*'].map((rest) => ({
      'Fn::Sub': [`arn:\${AWS::Partition}:${rest}`, { account }],
    })),
  );
  const topic = { Ref: 'ChangesTopic' };
  const deny = (Sid, Action, Condition) => ({ Sid, Effect: 'Deny', Principal: '*', Action, Resource: topic, Condition });
  return {
    Resources: {
      ChangesTopicPolicy: {
        Type: 'AWS::SNS::TopicPolicy',
        Properties: {
          Topics: [topic],
          PolicyDocument: {
            Version: '2012-10-17',
            Statement: [
              {
                Sid: 'Subscribers', // principals of other accounts also need permission there
                Effect: 'Allow',
                Principal: { AWS: accounts },
                Action: 'sns:Subscribe',
                Resource: topic,
                Condition: { StringEquals: { 'sns:Protocol': protocols } },
              },
              deny('KnownProtocolsOnly', 'sns:Subscribe', { StringNotEquals: { 'sns:Protocol': protocols } }),
              // The owner of a queue or a function in another account could confirm the subscription, and so read the changes
              // although subscriberAccounts does not name that account.
              deny('EndpointsOfSubscribersOnly', 'sns:Subscribe', {
                StringEquals: { 'sns:Protocol': ['lambda', 'sqs'] },
                StringNotLike: { 'sns:Endpoint': endpoints },
              }),
              deny('TlsOnly', topicActions, { Bool: { 'aws:SecureTransport': 'false' } }),
            ],
          },
        },
      },
    },
  };
};
