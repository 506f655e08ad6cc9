// An optional budget of the account, and who is told when it is spent.
module.exports = async ({ resolveVariable }) => {
  const service = await resolveVariable('self:service');
  const stage = await resolveVariable('sls:stage');
  const amount = await resolveVariable("param:monthlyBudget, ''");
  const email = await resolveVariable("param:alarmEmail, ''");
  if (amount === '') return {};
  if (!(Number(amount) > 0)) {
    throw new Error(`monthlyBudget is ${JSON.stringify(amount)}; it takes a number of US dollars greater than 0, or ''`);
  }
  if (!email) {
    throw new Error('monthlyBudget needs alarmEmail: a budget that nobody is told of is of no use');
  }
  const notification = (Threshold) => ({
    Notification: { NotificationType: 'ACTUAL', ComparisonOperator: 'GREATER_THAN', ThresholdType: 'PERCENTAGE', Threshold },
    Subscribers: [{ SubscriptionType: 'EMAIL', Address: email }],
  });
  const budget = {
    Type: 'AWS::Budgets::Budget',
    Properties: {
      Budget: {
        // The names of budgets are unique in an account, and the stage may be deployed in several regions.
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
