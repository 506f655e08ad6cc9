// Optional throughput of the favorites table, in units a second. It is JavaScript because a property that a stage does not
// set must be left out.
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
        const error = new Error(`${param} is ${JSON.stringify(value)}; it takes a whole number of units a second, or ''`);
        error.stack = error.message; // osls prints the stack
        throw error;
      }
      Properties[property] = { ...Properties[property], [name]: Number(value) };
    }
  }
  return { Resources: { FavoritesTable: { Properties } } };
};
