// An optional budget of the account, which notifies alarmEmail.
module.exports = async ({ resolveVariable }) => {
  const service = await resolveVariable('self:service');
  const stage = await resolveVariable('sls:stage');
  const amount = await resolveVariable("param:monthlyBudget, ''");
  const email = await resolveVariable("param:alarmEmail, ''");
  if (amount === '') return {};
  if (!(Number(amount) > 0)) {
    throw new Error(`parameter monthlyBudget is ${JSON.stringify(amount)}; set it to a number of US dollars greater than 0, or to ''`);
  }
  if (!email) {
    throw new Error('parameter monthlyBudget is set, but alarmEmail, which is notified, is not; set both or neither');
  }
  const notification = (Threshold) => ({
    Notification: { NotificationType: 'ACTUAL', ComparisonOperator: 'GREATER_THAN', ThresholdType: 'PERCENTAGE', Threshold },
    Subscribers: [{ SubscriptionType: 'EMAIL', Address: email }],
  });
  const budget = {
    Type: 'AWS::Budgets::Budget',
    Properties: {
      Budget: {
        // Names of budgets must be unique in an account, and a stage may be deployed in several regions.
        BudgetName: { 'Fn::Sub': `${service}-${stage}-\${AWS::Region}` },
        BudgetType: 'COST',
        TimeUnit: 'MONTHLY',
        BudgetLimit: { Amount: Number(amount), Unit: 'USD' },
      },
      NotificationsWithSubscribers: [notification(80), notification(100)],
    },
  };
  return { Resources: { Budget: budget } };
};
