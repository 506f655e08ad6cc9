// Optional throughput of the favorites table, in units per second. It is JavaScript because a property that a stage
// does not set must be absent.
const params = {
  WarmThroughput: { ReadUnitsPerSecond: 'warmReadUnits', WriteUnitsPerSecond: 'warmWriteUnits' },
  OnDemandThroughput: { MaxReadRequestUnits: 'maxReadUnits', MaxWriteRequestUnits: 'maxWriteUnits' },
};

module.exports = async ({ resolveVariable }) => {
  const Properties = {};
  for (const [property, units] of Object.entries(params)) {
    for (const [name, param] of Object.entries(units)) {
      const value = await resolveVariable(`param:${param}`);
      if (value === '') continue;
      if (!/^[1-9]\d*$/.test(value)) {
        const error = new Error(
          `parameter ${param} is ${JSON.stringify(value)}; set it to a whole number of units per second greater than 0, or to ''`,
        );
        error.stack = error.message; // osls prints the stack
        throw error;
      }
      Properties[property] = { ...Properties[property], [name]: Number(value) };
    }
  }
  return { Resources: { FavoritesTable: { Properties } } };
};
